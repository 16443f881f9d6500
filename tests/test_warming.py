"""The first frame's work done ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.cli.main import main
from attendance.types import Face, Float32, RGBImage
from tests.building import BrightDetector, FakeApp
from tests.fakes import ColourEmbedder


class Noted(BrightDetector):
    """Counts the pictures it was given."""

    looked = 0

    def detect(self, images: list[RGBImage]) -> list[list[Face]]:  # type: ignore[override]
        self.looked += len(images)
        return super().detect(images)


class NotedEmbedder(ColourEmbedder):
    """Counts the faces it was given."""

    embedded = 0

    def embed(self, chips: RGBImage) -> Float32:
        self.embedded += len(chips)
        return super().embed(chips)


class WarmApp(FakeApp):
    """The app with networks that count."""

    detector = Noted()
    embedder = NotedEmbedder()


def test_the_command_runs_every_network_and_leaves_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WarmApp.detector.looked = WarmApp.embedder.embedded = 0
    assert main(["models", "warm", "--store", str(tmp_path / "store")], make_app=WarmApp) == 0
    assert WarmApp.detector.looked > 0
    assert WarmApp.embedder.embedded > 0
    assert "is ready" in capsys.readouterr().out
    assert not (tmp_path / "store" / "ledger.sqlite").exists()
