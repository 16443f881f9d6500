"""What became of the passes of `benchmarks.walkup`: quantiles, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.pieces import Measured
from benchmarks.report import Table

FPS = 30.0
KINDS = {
    "640x360, one face": "one-",
    "1920x1080, eight faces": "eight-",
    "1920x1080, eight who come in at once": "burst-",
}
QUANTILES = ("p50_ms", "p95_ms", "machine_p50_ms", "machine_p95_ms", "waiting_ms")
P50_MS, P95_MS, FRAMES_A_SECOND = 300.0, 500.0, 20.0


def conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    """All pieces together: the rows by kind, what was promised, and the tables."""
    rows = []
    for what, prefix in KINDS.items():
        pieces = [piece for name, piece in found.items() if name.startswith(prefix)]
        rows.append({"what": what, **summary(pieces)})
    data = {
        "fps": FPS,
        "rows": rows,
        "pieces": found,
        "promises": {
            **{f"p50, {row['what']}": row["p50_ms"] is not None and row["p50_ms"] < P50_MS for row in rows[:2]},
            **{f"p95, {row['what']}": row["p95_ms"] is not None and row["p95_ms"] < P95_MS for row in rows[:2]},
            "frames a second, eight faces": all(row["path_frames_a_second"] >= FRAMES_A_SECOND for row in rows),
        },
    }
    return data, tables(data)


def summary(pieces: Sequence[Measured]) -> Measured:
    """The passes of several pieces: quantiles of those recorded, and what became of the others."""
    passes = [each for piece in pieces for each in piece["passes"]]
    ms = [each["ms"] for each in passes if each["ms"] is not None]
    waiting = [each["waiting_ms"] for each in passes if each["ms"] is not None and each["waiting_ms"] is not None]
    machine = [each["machine_ms"] for each in passes if each["machine_ms"] is not None]
    p50, p95 = (float(np.quantile(ms, share)) if ms else None for share in (0.5, 0.95))
    machine_p50, machine_p95 = (float(np.quantile(machine, share)) if machine else None for share in (0.5, 0.95))
    wait = float(np.median(waiting)) if waiting else None
    frame_ms, strangers_ms = (
        float(np.median([piece[key] for piece in pieces])) for key in ("path_ms", "path_strangers_ms")
    )
    return {
        "passes": len(passes),
        "never_usable": sum(not each["usable"] for each in passes),
        "recorded": len(ms),
        "p50_ms": p50,
        "p95_ms": p95,
        "machine_p50_ms": machine_p50,
        "machine_p95_ms": machine_p95,
        "waiting_ms": wait,
        "waiting_share": None if wait is None or not p50 else wait / p50,
        "path_ms": frame_ms,
        "path_faces": float(np.median([piece["path_faces"] for piece in pieces])),
        "path_frames_a_second": 1e3 / frame_ms,
        "path_strangers_frames_a_second": 1e3 / strangers_ms,
        "frames": sum(piece["camera"].get("frames", 0) for piece in pieces),
        "dropped": sum(piece["camera"].get("dropped", 0) for piece in pieces),
    }


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    rows = [
        (
            row["what"],
            f"{row['recorded']} of {row['passes']}",
            *("-" if row[key] is None else f"{row[key]:.0f}" for key in QUANTILES),
            "-" if row["waiting_share"] is None else f"{100 * row['waiting_share']:.0f} %",
            f"{row['path_frames_a_second']:.0f} (strangers: {row['path_strangers_frames_a_second']:.0f}), "
            f"{row['path_faces']:.1f} faces in view",
            f"{row['dropped']} of {row['frames']}",
        )
        for row in data["rows"]
    ]
    columns = (
        "camera",
        "passes recorded",
        "p50, ms",
        "p95, ms",
        "from the deciding frame, p50, ms",
        "p95, ms",
        "of the first waiting for the fifth good frame",
        "share of p50",
        "frames a second that the path alone does on such passes",
        "frames dropped",
    )
    note = (
        f"{data['fps']:g} frames a second, five good frames before a decision. Promised for the first two: p50 below "
        f"{P50_MS:g} ms, p95 below {P95_MS:g} ms; with eight faces at least {FRAMES_A_SECOND:g} frames a second. Time "
        "holds sending, decoding the JPEG and writing the punch to disk. The deciding frame is the one on which the "
        "same path, taking every frame without a clock, has fused enough to know the person. Passes not recorded were "
        "not recognised."
    )
    return (Table("Walk-up to written punch", columns, rows, note),)
