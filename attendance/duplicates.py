"""Whether a newcomer is somebody who is enrolled already. Pure.

How near a stranger comes to the nearest of N people grows with N, so a limit on the cosine finds fewer doubles as a
gallery grows. The same person under another name stands out on both sides, though: the first is much nearer to
them than to anybody else, and nearer than anybody else is to them. And people of a group that is far from everybody
else are near to one another without being one person. `Standing` counts all three, and its tail over strangers is the
same whatever the size of the gallery and the number of templates (docs/enrolling.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How a newcomer's nearest person stands out.

    The score is the similarity, plus ``lead_weight`` times the lead over the next person, of which ``lead_cap`` counts
    at most either way, less ``crowd_weight`` times the nearest person's own similarity to their nearest neighbour, plus
    ``everybody_weight`` times the newcomer's mean similarity to everybody else. From ``least`` on they are taken to be
    one person. Below ``from_people`` people a gallery tells too little of its crowd.
    """

    lead_weight: float
    lead_cap: float
    crowd_weight: float
    from_people: int
    least: float
    everybody_weight: float = 0.0

    def score(self, similarity: float, *, lead: float, crowd: float, everybody: float) -> float:
        """The score; all cosines."""
        counted = max(min(lead, self.lead_cap), -self.lead_cap)
        stands_out = similarity + self.lead_weight * counted - self.crowd_weight * crowd
        return stands_out + self.everybody_weight * everybody


def least_score(scores: Mapping[float, float], rate: float) -> float:
    """The score that a share ``rate`` of newcomers reaches without being enrolled; on lines in log10 of the rate.

    Beyond the measured rates the first and the last score hold.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a share of false alarms must lie between 0 and 1, got {rate}")
    points = sorted((math.log10(share), score) for share, score in scores.items())
    wanted = math.log10(rate)
    if wanted <= points[0][0]:
        return points[0][1]
    for (left, strict), (right, loose) in itertools.pairwise(points):
        if wanted <= right:
            return strict + (loose - strict) * (wanted - left) / (right - left)
    return points[-1][1]
