"""Metrics: what is counted is shown, in Prometheus' own reading of it, and nobody can make the labels grow."""

from __future__ import annotations

import math
import socket
import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from attendance.errors import UsageError
from attendance.telemetry import CONTENT_TYPE, MOST_LABELS, STAGES, TO_PUNCH, MetricsServer, Telemetry
from attendance.types import EventKind


def shown(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, as Prometheus reads the text."""
    text = telemetry.exposition().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(telemetry: Telemetry, name: str, **labels: Any) -> float:
    return shown(telemetry)[name, tuple(sorted(labels.items()))]


def test_the_path_is_counted() -> None:
    telemetry = Telemetry()
    telemetry.frame("door")
    telemetry.frame("door", dropped=3)
    telemetry.event(EventKind.PUNCH, "door")
    telemetry.punch_not_recorded("door")
    telemetry.event_not_written("door")
    telemetry.time_to_record(0.3)
    assert value(telemetry, "attendance_frames_total", camera="door") == 2
    assert value(telemetry, "attendance_frames_dropped_total", camera="door") == 3
    assert value(telemetry, "attendance_events_total", kind="punch", camera="door") == 1
    assert value(telemetry, "attendance_punches_not_recorded_total", camera="door") == 1
    assert value(telemetry, "attendance_events_not_written_total", camera="door") == 1
    assert value(telemetry, "attendance_time_to_record_seconds_bucket", le="0.2") == 0
    assert value(telemetry, "attendance_time_to_record_seconds_bucket", le="0.3") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_a_histogram(stage: str) -> None:
    telemetry = Telemetry()
    telemetry.stage(stage, 0.004)
    telemetry.stage(stage, 4.0)
    assert value(telemetry, "attendance_stage_seconds_count", stage=stage) == 2
    assert value(telemetry, "attendance_stage_seconds_sum", stage=stage) == pytest.approx(4.004)
    assert value(telemetry, "attendance_stage_seconds_bucket", stage=stage, le="0.005") == 1


def test_a_failed_step_is_timed_too() -> None:
    telemetry = Telemetry()
    with pytest.raises(KeyError), telemetry.timed("embed"):
        raise KeyError
    assert value(telemetry, "attendance_stage_seconds_count", stage="embed") == 1


def test_another_word_is_no_stage() -> None:
    with pytest.raises(ValueError, match=r"one of camera, detect.*got 'recognise'"):
        Telemetry().stage("recognise", 1.0)


def test_times_are_told_as_count_mean_and_the_slowest_twentieth_of_the_last_thousand() -> None:
    telemetry = Telemetry()
    assert telemetry.times() == {}
    for milliseconds in range(3000):
        telemetry.stage("detect", milliseconds / 1000)
    telemetry.time_to_record(3.0)
    telemetry.time_to_record(2.0, since_capture_s=0.25)
    times = telemetry.times()
    assert set(times) == {"detect", TO_PUNCH}
    assert times["detect"].count == 3000
    assert times["detect"].mean_s == pytest.approx(1.4995)
    assert times["detect"].p95_s == pytest.approx(2.950)
    assert (times[TO_PUNCH].count, times[TO_PUNCH].p95_s) == (1, 0.25)
    assert value(telemetry, "attendance_time_to_record_seconds_count") == 2
    assert value(telemetry, "attendance_capture_to_punch_seconds_sum") == 0.25


def test_queues_are_asked_when_metrics_are_read() -> None:
    telemetry = Telemetry()
    waiting = iter([3, 1])
    telemetry.queue("frames", "door", depth=lambda: next(waiting), bound=lambda: 4)
    assert value(telemetry, "attendance_queue_depth", queue="frames", camera="door") == 3
    samples = shown(telemetry)
    labels = (("camera", "door"), ("queue", "frames"))
    assert (samples["attendance_queue_depth", labels], samples["attendance_queue_bound", labels]) == (1, 4)
    with pytest.raises(ValueError, match=r"one of frames, results, got 'people'"):
        telemetry.queue("people", "door", depth=lambda: 0, bound=lambda: 0)


def test_the_stores_are_gauges() -> None:
    telemetry = Telemetry()
    assert math.isnan(value(telemetry, "attendance_ledger_up"))
    assert math.isnan(value(telemetry, "attendance_follower_age_seconds"))
    ages = iter([1.5, 2.5])
    telemetry.gallery(people=3, templates=9, revision=4)
    telemetry.follow(lambda: next(ages))
    telemetry.ledger_up(True)
    telemetry.recall(asked=10, agreed=9)
    first = shown(telemetry)
    assert (first["attendance_gallery_people", ()], first["attendance_gallery_templates", ()]) == (3, 9)
    assert first["attendance_gallery_revision", ()] == 4
    assert (first["attendance_chroma_recall_asked_total", ()], first["attendance_chroma_recall_agreed_total", ()]) == (
        10,
        9,
    )
    assert (first["attendance_follower_age_seconds", ()], first["attendance_ledger_up", ()]) == (1.5, 1)
    telemetry.ledger_up(False)
    assert value(telemetry, "attendance_ledger_up") == 0


def test_labels_from_outside_are_bounded() -> None:
    telemetry = Telemetry()
    for number in range(3 * MOST_LABELS):
        telemetry.frame(f"camera-{number}")
        telemetry.http(method=f"M{number}", route=f"/{number}", status=404, seconds=0.1)
    samples = shown(telemetry)
    cameras = {dict(labels)["camera"] for name, labels in samples if name == "attendance_frames_total"}
    requests = [dict(labels) for name, labels in samples if name == "attendance_http_requests_total"]
    assert len(cameras) == MOST_LABELS + 1
    assert "other" in cameras
    assert {each["method"] for each in requests} == {"other"}
    assert len(requests) == MOST_LABELS + 1


def test_two_programs_in_one_process_do_not_mix() -> None:
    one, other = Telemetry(), Telemetry()
    one.frame("door")
    assert ("attendance_frames_total", (("camera", "door"),)) not in shown(other)


def test_a_kiosk_serves_its_metrics_on_loopback() -> None:
    telemetry = Telemetry()
    telemetry.frame("door")
    with MetricsServer(telemetry, port=0) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert answer.read() == telemetry.exposition()
        with pytest.raises(UsageError, match=rf"free port on 127.0.0.1, got {server.port}"):
            MetricsServer(telemetry, port=server.port)
    with socket.socket() as left, pytest.raises(ConnectionRefusedError):
        left.connect(("127.0.0.1", server.port))
    assert CONTENT_TYPE.startswith("text/plain")
