"""What both evaluations share: flags, the opened model, rates and intervals in their written form."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from attendance.app import App
from attendance.embed.card import ModelCard
from attendance.errors import UsageError
from attendance.metrics import Floats
from attendance.quality import LEVELS
from lab.command import Context
from lab.evaluate.degrade import Degradation, DegradingEmbedder
from lab.read import QUALITY_OFF, PhotoReader, open_app, open_reader

FIGURE_RATES = (1e-1, 1e-2, 1e-3)
FINER_RATES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def rates_for(count: int) -> tuple[float, ...]:
    """The rates that are always given, and the finer ones that so many different pairs or strangers allow."""
    return (*FIGURE_RATES, *(rate for rate in FINER_RATES if count * rate >= 1.0 - 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model ready to be judged."""

    app: App
    card: ModelCard
    reader: PhotoReader
    degrading: DegradingEmbedder | None = None

    @contextmanager
    def degraded(self, how: Degradation | None) -> Iterator[None]:
        """Read photos degraded for a while; None: as they are."""
        if self.degrading is None:
            yield
            return
        self.degrading.how = how
        try:
            yield
        finally:
            self.degrading.how = None


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that choose the model and how it reads."""
    parser.add_argument("--model", metavar="ID", help="model to judge (model.id of the configuration)")
    parser.add_argument("--aligned", action="store_true", help="the images are crops already: no detection")
    parser.add_argument("--quality", choices=LEVELS, default=QUALITY_OFF, help="quality gate for reading (off)")


def add_degrading_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that make probes worse than the gallery."""
    parser.add_argument(
        "--degrade-probes", type=int, metavar="PX", help="shrink probes' and strangers' faces to so many pixels a side"
    )
    parser.add_argument("--degrade-quality", type=int, metavar="Q", help="and keep the small face as a JPEG of Q")


def degradation_of(arguments: argparse.Namespace) -> Degradation | None:
    """What those flags ask for, None where there are none."""
    side, quality = getattr(arguments, "degrade_probes", None), getattr(arguments, "degrade_quality", None)
    if side is None and quality is not None:
        raise UsageError("--degrade-quality: expected --degrade-probes beside it; name the faces' size")
    return None if side is None else Degradation(side, quality)


@contextmanager
def open_model(arguments: argparse.Namespace, context: Context) -> Iterator[Model]:
    """The model that the flags and the configuration name."""
    with open_app(context.settings, model_flag=arguments.model) as app:
        degrading = None
        if degradation_of(arguments) is not None:
            # Before anything is built on the embedder.
            app.embedder = degrading = DegradingEmbedder(app.embedder)
        reader = open_reader(app, aligned=arguments.aligned, quality_level=arguments.quality)
        yield Model(app, app.card, reader, degrading)


def rate_key(rate: float) -> str:
    """A target rate as results name it: 0.01 is ``1e-2``."""
    mantissa, exponent = f"{rate:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def intervals_like(intervals: Floats) -> list[list[float]]:
    """(S, 2) intervals as lists of low and high."""
    return [[float(low), float(high)] for low, high in intervals]


def figure_line(name: str, value: float, interval: list[float]) -> str:
    """A figure and its interval for a person."""
    return f"{name:<18} {value:.4f}  [{interval[0]:.4f}, {interval[1]:.4f}]"
