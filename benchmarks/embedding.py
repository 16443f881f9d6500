"""The default embedder's network as the product runs it, beside torch's default layout: one face, 8 and 32.

As the card says a face is two pictures, itself and its mirror image; each picture alone is measured too. The floor is
the multiply-adds of the network's plain convolutions at the rate of a large float32 product of torch, measured in turn
with it; Winograd's method needs fewer, so ours may lie below. Theirs begins with floats in memory,
ours with the chips, so it does the preparation that theirs is spared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from attendance.embed.dlib import find_weights, read_weights
from attendance.embed.quick import quick
from attendance.embed.registry import DEFAULT_MODEL, find_card
from attendance.nets.dlib_resnet29 import DIMENSION, INPUT_PX, DlibResNet29
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks embedding"
FACES = (1, 8, 32)
MULTIPLY_ADDS = 270.9e6
SIDE = 1536
THREADS = 2
PAUSE_S = 0.02
ONE_FACE_AT_LEAST, OVER_FLOOR_AT_MOST, COSINE_AT_LEAST = 2.0, 1.4, 0.99999


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The embedder beside torch's default layout.")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each side (15)")
    parser.add_argument("--dry", action="store_true", help="write no result")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(THREADS)
    rows = [_measure(faces, mirror, arguments.rounds) for mirror in (True, False) for faces in FACES]
    for row in rows:
        print(row, flush=True)
    most = len(FACES) - 1
    promises = {
        "one_face": rows[0]["ratio"] >= ONE_FACE_AT_LEAST,
        "over_floor": rows[most]["over_floor"] <= OVER_FLOOR_AT_MOST,
        "same_vectors": all(row["least_cosine"] >= COSINE_AT_LEAST for row in rows),
    }
    data = {"rounds": arguments.rounds, "rows": rows, "promises": promises}
    if not arguments.dry:
        title = "The embedder's network beside torch's default layout"
        write_result("embedding", title, tables=[_table(data)], data=data, command=COMMAND, threads=THREADS)
    print(promises)
    return 0 if all(promises.values()) else 1


def _network() -> DlibResNet29:
    network = DlibResNet29()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in read_weights(find_weights().read_bytes()).items()})
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _measure(faces: int, mirror: bool, rounds: int) -> dict[str, Any]:
    plain = _network()
    ours = quick(_network(), threads=THREADS)
    assert ours is not None, "the product's kernels do not work here"
    spec = replace(find_card(DEFAULT_MODEL, None).input, mirror=mirror)
    chips = np.random.default_rng(0).integers(0, 256, (faces, INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(chips).float() - torch.tensor(spec.mean)) * torch.tensor(spec.scale)
    pictures = (torch.cat([pixels, pixels.flip(2)]) if mirror else pixels).permute(0, 3, 1, 2).contiguous()
    matrix = torch.randn(SIDE, SIDE)
    share = len(pictures) * MULTIPLY_ADDS / SIDE**3
    sides: tuple[Callable[[], object], ...] = (
        lambda: plain(pictures),
        lambda: matrix @ matrix,
        lambda: ours(chips, spec),
    )
    with torch.inference_mode():
        wanted = plain(pictures).reshape(-1, faces, DIMENSION).sum(dim=0).numpy()
        times = [[_ms(side) for side in sides] for _ in range(rounds + 1)][1:]
    found = ours(chips, spec)
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    return {
        "faces": faces,
        "mirror": mirror,
        "default_ms": median(t[0] for t in times) / faces,
        "ours_ms": median(t[2] for t in times) / faces,
        "floor_ms": median(t[1] for t in times) * share / faces,
        "ratio": median(t[0] / t[2] for t in times),
        "over_floor": median(t[2] / (t[1] * share) for t in times),
        "least_cosine": float(((wanted * found).sum(axis=1) / lengths).min()),
    }


def _ms(side: Callable[[], object]) -> float:
    # The threads of the pool before go on spinning for a while, which would slow whoever comes next.
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    side()
    return (time.perf_counter() - start) * 1000


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            str(row["faces"]),
            "and mirrored" if row["mirror"] else "alone",
            f"{row['default_ms']:.2f}",
            f"{row['ours_ms']:.2f}",
            f"{row['floor_ms']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['over_floor']:.2f}",
        )
        for row in data["rows"]
    ]
    columns = ("faces at once", "pictures", "default layout", "ours", "floor", "default / ours", "ours / floor")
    note = f"ms a face, medians of {data['rounds']} rounds in turn; ratios are medians of the rounds'."
    return Table("Embedding", columns, rows, note)


if __name__ == "__main__":
    sys.exit(main())
