"""A kiosk that runs while templates change."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from attendance.cli.recognising import path_of, turner_of
from attendance.config import load
from attendance.pipeline import TrackChange, process_together
from attendance.swap import finish
from attendance.types import Frame
from tests.building import Site, colour_of
from tests.fakes import at
from tests.fakes import picture as drawn
from tests.swap.conftest import TINY, Run, SwapApp, key_file


class Watching:
    """A camera of a kiosk of this store, frame by frame; it looks at the ledger when it is told to."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self.said: list[str] = []
        app = stack.enter_context(SwapApp(load(None, environment=os.environ, overrides={"store.path": site.store})))
        self.turner = turner_of(app, keeper=None, tell=self.said.append)
        stack.callback(self.turner.stop)
        self.path = path_of(self.turner)
        self._index = 0

    def look(self) -> None:
        """What its threads do every second."""
        self.turner.current.follower.look()
        self.turner.look()

    def walk(self, number: int) -> list[tuple[str, str | None, str]]:
        """Somebody walks past: outcome, who, and by which model, of every track that was decided."""
        changes = [change for side in range(8) for change in self._frame(number, 20 + 3 * side)]
        changes += [change for _ in range(15) for change in self._frame(None, 0)]
        return [
            (str(d.outcome), d.best.identity_id if d.best is not None else None, change.card_id)
            for change in changes if (d := change.decision) is not None
        ]  # fmt: skip

    def _frame(self, number: int | None, x: int) -> tuple[TrackChange, ...]:
        self._index += 1
        image = drawn(*([] if number is None else [(colour_of(number), (x, 60, 110))]))
        frame = Frame(image, at(self._index / 10), self._index, "camera-1")
        return process_together([(self.path, frame)])[0].changes


def test_a_running_kiosk_changes_over_and_back(site: Site, run: Run) -> None:
    with ExitStack() as stack:
        kiosk = Watching(site, stack)
        assert kiosk.walk(1) == [("known", "bob-2", "colours")]
        assert run("models", "swap", TINY, "--photos", site.people).code == 0
        assert kiosk.walk(1) == [("known", "bob-2", "colours")]
        kiosk.look()
        assert kiosk.walk(1) == [("known", "bob-2", TINY)]
        assert run("models", "back").code == 0
        kiosk.look()
        assert kiosk.walk(2) == [("known", "cem-3", "colours")]
        assert kiosk.said == [f"changed over from colours to {TINY}", f"changed over from {TINY} to colours"]


def test_who_is_in_view_at_the_change_is_decided_by_the_former_model(site: Site, run: Run) -> None:
    with ExitStack() as stack:
        kiosk = Watching(site, stack)
        for step in range(3):
            assert kiosk._frame(1, 20 + step) == ()
        assert run("models", "swap", TINY, "--photos", site.people).code == 0
        kiosk.look()
        first, second = [c for x in range(8) for c in kiosk._frame(1, 23 + x)]
        assert (first.card_id, second.card_id) == ("colours", TINY)
        assert first.track_id != second.track_id


def test_a_kiosk_without_the_model_goes_on_and_says_so(site: Site, run: Run) -> None:
    with ExitStack() as stack:
        kiosk = Watching(site, stack)
        assert run("models", "swap", TINY, "--photos", site.people).code == 0
        (site.store / "models" / TINY).rename(site.store.parent / "elsewhere")
        for _ in range(3):
            kiosk.look()
        assert kiosk.walk(1) == [("known", "bob-2", "colours")]
        assert len(kiosk.said) == 1 and f"templates of {TINY} are in force" in kiosk.said[0]
        assert "goes on with colours" in kiosk.said[0]
        # Also when the former templates are gone from the ledger, for as long as the people are there.
        with site.ledger() as ledger:
            assert finish(ledger) == 6
            person = ledger.person("ann-1")
            assert person is not None and ledger.remove_person("ann-1", version=person.version)
            ledger.end_template_change()
        kiosk.look()
        assert kiosk.walk(1) == [("known", "bob-2", "colours")]
        assert kiosk.walk(0)[0][0] == "unknown"


def test_a_kiosk_takes_up_a_key_that_was_brought_to_it(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(run, site, monkeypatch)
    with ExitStack() as stack:
        kiosk = Watching(site, stack)
        for _ in range(2):
            assert run("protect", "rotate").code == 0
            kiosk.look()
            assert kiosk.walk(1) == [("known", "bob-2", "colours")]
            assert kiosk.turner.current.space == run("protect", "show", "--json", "-").json["model"] + "@" + run(
                "protect", "show", "--json", "-").json["key"]  # fmt: skip
            assert run("protect", "new-key", path).code == 0
