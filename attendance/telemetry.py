"""What a running program tells Prometheus: counts and times by the words of the path, and no name of anybody.

Labels are bounded: stages, kinds and methods are fixed sets, cameras and routes are taken up to `MOST_LABELS` of each
and are ``other`` beyond. Recording is safe from any thread and costs about a microsecond.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, start_http_server

from attendance.errors import UsageError

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The media type of `Telemetry.exposition`."""

STAGES = ("camera", "detect", "track", "align", "quality", "liveness", "embed", "search", "decide", "ledger")
"""The path's words, as ``stage`` of attendance_stage_seconds; other words are refused."""

TO_PUNCH = "to_punch"
"""Besides the stages in `Telemetry.times`: from a frame that left its camera to the punch that it brought."""

QUEUES = ("frames", "results")
"""What waits between threads: frames of a camera for vision, results of vision for the ledger."""

MOST_LABELS = 64
OTHER = "other"

_KEPT_TIMES = 1000

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STAGE_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_RECORD_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_HTTP_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _Bounded:
    """Label values from outside, up to `MOST_LABELS` different ones."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._lock:
            if len(self._known) >= MOST_LABELS:
                return OTHER
            self._known.add(value)
        return value


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took: how often, and seconds in the mean of all and in the slowest 5 % of the last ones."""

    count: int
    mean_s: float
    p95_s: float


class _Recent:
    """Counts, sums and the last times of each step, for the percentiles that buckets are too coarse for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, tuple[int, float]] = {}
        self._last: dict[str, deque[float]] = {}

    def add(self, step: str, seconds: float) -> None:
        with self._lock:
            count, total = self._totals.get(step, (0, 0.0))
            self._totals[step] = count + 1, total + seconds
            self._last.setdefault(step, deque(maxlen=_KEPT_TIMES)).append(seconds)

    def summary(self) -> dict[str, Times]:
        with self._lock:
            totals, last = dict(self._totals), {step: sorted(times) for step, times in self._last.items()}
        return {
            step: Times(count, total / count, last[step][min(int(0.95 * len(last[step])), len(last[step]) - 1)])
            for step, (count, total) in totals.items()
        }


class Telemetry:
    """The metrics of one program, in a registry of their own, so that two in one process do not mix."""

    def __init__(self) -> None:
        # One more line for each counter that no dashboard asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._camera_ids, self._routes = _Bounded(), _Bounded()
        self._times = _Recent()
        self._add_path()
        self._add_stores()
        self._add_http()

    def _add_path(self) -> None:
        camera, to = ("camera",), self.registry
        self._frames = Counter("attendance_frames", "Frames taken from a camera.", camera, registry=to)
        self._dropped = Counter(
            "attendance_frames_dropped", "Frames of a camera that newer ones overtook.", camera, registry=to
        )
        self._stages = Histogram(
            "attendance_stage_seconds", "Time in one step of the path.", ("stage",), buckets=_STAGE_S, registry=to
        )
        self._to_record = Histogram(
            "attendance_time_to_record_seconds",
            "From the first look at a track to its punch in the ledger.",
            buckets=_RECORD_S,
            registry=to,
        )
        self._from_capture = Histogram(
            "attendance_capture_to_punch_seconds",
            "From a frame that left its camera to the punch in the ledger that it brought.",
            buckets=_RECORD_S,
            registry=to,
        )
        names = ("queue", "camera")
        self._depth = Gauge("attendance_queue_depth", "What waits between two threads now.", names, registry=to)
        self._bound = Gauge("attendance_queue_bound", "What may wait there at most.", names, registry=to)
        self._events = Counter("attendance_events", "Events by kind.", ("kind", "camera"), registry=to)
        self._not_recorded = Counter(
            "attendance_punches_not_recorded", "Punches that the ledger could not take.", camera, registry=to
        )
        self._not_written = Counter(
            "attendance_events_not_written", "Events that the events file could not take.", camera, registry=to
        )

    def _add_stores(self) -> None:
        to = self.registry
        self._people = Gauge("attendance_gallery_people", "People in the gallery.", registry=to)
        self._templates = Gauge("attendance_gallery_templates", "Templates in the gallery.", registry=to)
        self._revision = Gauge("attendance_gallery_revision", "Template revision that is followed.", registry=to)
        self._age = Gauge(
            "attendance_follower_age_seconds", "Time since the ledger was last asked for changes.", registry=to
        )
        self._ledger_up = Gauge("attendance_ledger_up", "1 where the ledger answered last time, else 0.", registry=to)
        for unknown_yet in (self._age, self._ledger_up):
            unknown_yet.set(math.nan)
        self._asked = Counter(
            "attendance_chroma_recall_asked", "Lookups that Chroma and the mirror both answered.", registry=to
        )
        self._agreed = Counter("attendance_chroma_recall_agreed", "Those in which both agreed.", registry=to)

    def _add_http(self) -> None:
        names, to = ("method", "route"), self.registry
        self._requests = Counter("attendance_http_requests", "Requests answered.", (*names, "status"), registry=to)
        self._latency = Histogram(
            "attendance_http_request_seconds", "Time to the answer.", names, buckets=_HTTP_S, registry=to
        )
        self._in_flight = Gauge("attendance_http_requests_in_flight", "Requests not answered yet.", registry=to)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format, of the media type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def frame(self, camera_id: str, *, dropped: int = 0) -> None:
        """A frame was taken, and so many were dropped before it."""
        camera = self._camera_ids(camera_id)
        self._frames.labels(camera).inc()
        if dropped:
            self._dropped.labels(camera).inc(dropped)

    def stage(self, stage: str, seconds: float) -> None:
        """A step of the path, one of `STAGES`, took so long."""
        if stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
        self._stages.labels(stage).observe(seconds)
        self._times.add(stage, seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a step of the path, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage(stage, time.perf_counter() - started)

    def time_to_record(self, seconds: float, *, since_capture_s: float | None = None) -> None:
        """From the first look at a track to its punch in the ledger, and from the frame that brought the punch."""
        self._to_record.observe(seconds)
        if since_capture_s is not None:
            self._from_capture.observe(since_capture_s)
            self._times.add(TO_PUNCH, since_capture_s)

    def queue(self, queue: str, camera_id: str, *, depth: Callable[[], float], bound: Callable[[], float]) -> None:
        """Ask for a queue's depth and bound whenever metrics are read; both must be quick and must not raise.

        ``queue`` is one of `QUEUES`; ``camera_id`` is empty where all cameras share it.
        """
        if queue not in QUEUES:
            raise ValueError(f"queue must be one of {', '.join(QUEUES)}, got {queue!r}")
        camera = self._camera_ids(camera_id)
        self._depth.labels(queue, camera).set_function(depth)
        self._bound.labels(queue, camera).set_function(bound)

    def times(self) -> dict[str, Times]:
        """How long each step took so far, and `TO_PUNCH`; what did not happen is left out."""
        return self._times.summary()

    def event(self, kind: str, camera_id: str) -> None:
        """An event of this kind (the contract's ``kind``)."""
        self._events.labels(str(kind), self._camera_ids(camera_id)).inc()

    def punch_not_recorded(self, camera_id: str) -> None:
        """A recognised person's punch is not in the ledger."""
        self._not_recorded.labels(self._camera_ids(camera_id)).inc()

    def event_not_written(self, camera_id: str) -> None:
        """An event is not in the events file."""
        self._not_written.labels(self._camera_ids(camera_id)).inc()

    def gallery(self, *, people: int, templates: int, revision: int) -> None:
        """What lookups are answered from."""
        self._people.set(people)
        self._templates.set(templates)
        self._revision.set(revision)

    def follow(self, age_s: Callable[[], float]) -> None:
        """Ask for the follower's age whenever metrics are read; ``age_s`` must be quick and must not raise."""
        self._age.set_function(age_s)

    def ledger_up(self, up: bool) -> None:
        """Whether the ledger answered."""
        self._ledger_up.set(1 if up else 0)

    def recall(self, *, asked: int, agreed: int) -> None:
        """So many lookups were answered twice, and so many of them alike."""
        self._asked.inc(asked)
        self._agreed.inc(agreed)

    @contextmanager
    def http_in_flight(self) -> Iterator[None]:
        """A request is being answered."""
        with self._in_flight.track_inprogress():
            yield

    def http(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route`` is the pattern that matched, never the path that was asked for."""
        method = method if method in _METHODS else OTHER
        route = self._routes(route)
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)


class MetricsServer:
    """Serves ``/metrics`` of a program without a service of its own, on loopback; use it in a ``with``."""

    def __init__(self, telemetry: Telemetry, *, port: int, host: str = "127.0.0.1") -> None:
        """Port 0 takes any free one. UsageError where the port cannot be had."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=telemetry.registry)
        except OSError as error:
            raise UsageError(
                f"metrics.port must be a free port on {host}, got {port} ({error.strerror}): "
                "give another, each kiosk of a machine its own"
            ) from error
        self.port = int(self._server.server_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
