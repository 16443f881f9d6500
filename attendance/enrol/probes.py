"""Photos that are looked up after an enrolment, to see whether it works."""

from __future__ import annotations

from collections.abc import Sequence

from attendance.enrol.values import Probe, ProbeResult, Refusal
from attendance.metrics import rank_of, top_k
from attendance.search.port import Gallery
from attendance.stills import StillReader
from attendance.types import Candidate


def evaluate_probes(
    probes: Sequence[Probe], *, unreadable: Sequence[Refusal], stills: StillReader, gallery: Gallery
) -> ProbeResult:
    """Read the probes and look each one up.

    Args:
        probes: what to read.
        unreadable: probes that could not even be found to be read: misses like every failed read.
        stills: reads them; not strict, so that no probe is refused for several faces or quality.
        gallery: searched for the five nearest people.
    """
    ranks = [0] * len(unreadable)
    failed = list(unreadable)
    for probe, reading in zip(probes, stills.read(probe.path for probe in probes), strict=True):
        found: list[Candidate] = []
        if reading.vector is not None:
            found = gallery.nearest(reading.vector[None, :], k=5)[0]
        elif reading.reason is not None:
            failed.append(Refusal(probe.name, reading.reason, reading.detail))
        ranks.append(rank_of(found, probe.identity_id))
    top1, top3, top5 = (top_k(ranks, k) if ranks else None for k in (1, 3, 5))
    return ProbeResult(top1, top3, top5, len(ranks), tuple(failed))
