"""Many at once: one is worked on, few wait, the rest is sent away; and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import pytest

from attendance.types import Face, RGBImage
from tests.building import BrightDetector, FakeApp
from tests.service.conftest import OTHER, SAME, Open, check_problem

STOP = threading.Event()
ENTERED = threading.Semaphore(0)


class WaitingDetector(BrightDetector):
    """Works only when it is let, once it is warm; notes when two do at once."""

    busy = 0
    together = 0
    is_warm = False

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        if not self.is_warm:
            return super().detect(images)
        WaitingDetector.busy += 1
        WaitingDetector.together = max(WaitingDetector.together, WaitingDetector.busy)
        ENTERED.release()
        STOP.wait(20.0)
        WaitingDetector.busy -= 1
        return super().detect(images)


class WaitingApp(FakeApp):
    """An app whose detector waits."""

    @cached_property
    def detector(self) -> WaitingDetector:
        return WaitingDetector()

    def warm_up(self) -> float:
        seconds = super().warm_up()
        self.detector.is_warm = True
        return seconds


@pytest.fixture(autouse=True)
def _stopped() -> None:
    STOP.clear()
    while ENTERED.acquire(blocking=False):
        pass


def test_few_wait_and_the_rest_is_sent_away(open_service: Open) -> None:
    with open_service(make_app=WaitingApp, max_waiting=2) as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, "/verify", files=SAME if n % 2 else OTHER) for n in range(8)]
        try:
            assert ENTERED.acquire(timeout=10.0)
            # Five are refused while the first is still worked on; the photos of the others are not looked at yet.
            while sum(request.done() for request in asked) < 5:
                time.sleep(0.005)
            assert client.get("/healthz").status_code == 200
        finally:
            STOP.set()
        answers = [request.result(timeout=20.0) for request in asked]
    assert Counter(answer.status_code for answer in answers) == {200: 3, 503: 5}
    for answer in answers:
        if answer.status_code == 503:
            check_problem(answer, "overloaded", 503)
            assert int(answer.headers["retry-after"]) >= 1
    assert WaitingDetector.together == 1


def test_answers_are_not_mixed_up(open_service: Open) -> None:
    STOP.set()
    with open_service(make_app=WaitingApp, max_waiting=30) as client, ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: client.post("/verify", files=SAME if n % 3 else OTHER).json()["match"], range(24))
        )
    assert answers == [bool(n % 3) for n in range(24)]


def test_no_answer_in_time(open_service: Open) -> None:
    with open_service(make_app=WaitingApp, request_timeout_s=0.2, max_waiting=0) as client:
        answer = client.post("/verify", files=SAME)
        check_problem(answer, "overloaded", 503)
        assert "0.2 s" in answer.json()["detail"]
        STOP.set()
        assert client.post("/verify", files=SAME).status_code == 200
