"""The default embedder's network as the product runs it, beside torch's default layout: one face, 8 and 32.

The floor is the network's multiply-adds at the rate of a large float32 product of torch, measured in turn with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from attendance.embed.dlib import find_weights, read_weights
from attendance.embed.fused import fused
from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks embedding"
FACES = (1, 8, 32)
MULTIPLY_ADDS = 270.9e6
SIDE = 1536
THREADS = 2
ONE_FACE_AT_LEAST, OVER_FLOOR_AT_MOST = 2.0, 1.4


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The embedder beside torch's default layout.")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each side (15)")
    parser.add_argument("--dry", action="store_true", help="write no result")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(THREADS)
    rows = [_measure(faces, arguments.rounds) for faces in FACES]
    for row in rows:
        print(row, flush=True)
    promises = {
        "one_face": rows[0]["ratio"] >= ONE_FACE_AT_LEAST,
        "over_floor": rows[-1]["over_floor"] <= OVER_FLOOR_AT_MOST,
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


def _measure(faces: int, rounds: int) -> dict[str, Any]:
    plain = _network()
    ours = fused(_network().to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    pictures = torch.randn(faces, 3, INPUT_PX, INPUT_PX)
    innermost = pictures.contiguous(memory_format=torch.channels_last)
    matrix = torch.randn(SIDE, SIDE)
    share = faces * MULTIPLY_ADDS / SIDE**3
    sides: tuple[Callable[[], object], ...] = (
        lambda: plain(pictures),
        lambda: ours(innermost),
        lambda: matrix @ matrix,
    )
    with torch.inference_mode():
        times = [[_ms(side) for side in sides] for _ in range(rounds + 1)][1:]
    return {
        "faces": faces,
        "default_ms": median(t[0] for t in times) / faces,
        "ours_ms": median(t[1] for t in times) / faces,
        "floor_ms": median(t[2] for t in times) * share / faces,
        "ratio": median(t[0] / t[1] for t in times),
        "over_floor": median(t[1] / (t[2] * share) for t in times),
    }


def _ms(side: Callable[[], object]) -> float:
    start = time.perf_counter()
    side()
    return (time.perf_counter() - start) * 1000


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            str(row["faces"]),
            f"{row['default_ms']:.2f}",
            f"{row['ours_ms']:.2f}",
            f"{row['floor_ms']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['over_floor']:.2f}",
        )
        for row in data["rows"]
    ]
    columns = ("faces at once", "default layout", "ours", "floor", "default / ours", "ours / floor")
    note = f"ms a face, medians of {data['rounds']} rounds in turn; ratios are medians of the rounds'."
    return Table("Embedding", columns, rows, note)


if __name__ == "__main__":
    sys.exit(main())
