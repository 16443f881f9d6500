"""How a newcomer's nearest person stands out."""

from __future__ import annotations

import pytest

from attendance.duplicates import Standing, least_score

RULE = Standing(lead_weight=0.5, lead_cap=0.1, crowd_weight=0.25, from_people=3, least=0.7)


def test_lead_adds_and_a_crowd_takes_away() -> None:
    assert RULE.score(0.9, lead=0.04, crowd=0.8) == pytest.approx(0.9 + 0.02 - 0.2)
    assert RULE.score(0.9, lead=0.5, crowd=0.0) == pytest.approx(0.95)
    assert RULE.score(0.9, lead=-0.5, crowd=0.0) == pytest.approx(0.85)


def test_between_measured_rates_the_score_is_linear_in_the_log_and_beyond_it_stands() -> None:
    scores = {0.1: 0.60, 0.001: 0.64}
    assert least_score(scores, 0.01) == pytest.approx(0.62)
    assert (least_score(scores, 0.5), least_score(scores, 1e-5)) == (0.60, 0.64)
    assert least_score(scores, 0.002) > least_score(scores, 0.02)
    with pytest.raises(ValueError, match="between 0 and 1"):
        least_score(scores, 0.0)
