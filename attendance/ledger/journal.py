"""Numbering a writer's punches: a fresh random journal id for each start of a writer, and a counter from 1.

A counter that went on after a restart would have to be read from the store, and could repeat a number that a crash kept
from reaching it. A fresh id needs no store and cannot repeat.
"""

from __future__ import annotations

import secrets
import threading


class Journal:
    """One writer's numbering, for one run of a process. Safe to call from several threads."""

    def __init__(self) -> None:
        self.journal_id = secrets.token_hex(16)
        self._last = 0
        self._lock = threading.Lock()

    def next_counter(self) -> int:
        """The next number, from 1; never the same twice."""
        with self._lock:
            self._last += 1
            return self._last
