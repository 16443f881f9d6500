"""A process of its own that records punches: prints each event id once it is acknowledged.

Usage: writer.py LEDGER FIRST COUNT SEED, the ledger being a file or a mongodb:// address. Punch number i is the same
whoever makes it; the seed shuffles the order.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from attendance.ledger.opening import is_server, open_ledger
from attendance.types import Direction, Punch


def punch(number: int) -> Punch:
    chance = random.Random(number)
    observed_at = datetime(2026, 1, 5, 8, tzinfo=UTC) + timedelta(seconds=chance.randrange(100_000))
    return Punch(
        event_id=f"event-{number:05d}",
        subject_ref=f"ref-{chance.randrange(4)}",
        journal_id="journal",
        journal_counter=number,
        observed_at=observed_at,
        recorded_at=observed_at,
        site="main",
        camera_id="door",
        direction=Direction.IN,
        method="face",
        similarity=0.9,
        runner_up_ref=None,
        runner_up_similarity=None,
        margin=None,
        threshold=0.5,
        card_id="card-1",
        template_revision=1,
        track_id=number,
    )


def main() -> None:
    first, count, seed = (int(text) for text in sys.argv[2:5])
    numbers = list(range(first, first + count))
    random.Random(seed).shuffle(numbers)
    url = sys.argv[1] if is_server(sys.argv[1]) else ""
    zones = {"main": ZoneInfo("Europe/Berlin")}
    with open_ledger(url, Path(sys.argv[1]), cooldown_s=300.0, time_zones=zones) as ledger:
        for number in numbers:
            recorded = ledger.record(punch(number))
            print(f"event-{number:05d}", "new" if recorded.inserted else "known", flush=True)


if __name__ == "__main__":
    main()
