"""Our cascade beside facenet-pytorch's MTCNN: the same results, and how much sooner.

python -m benchmarks.detection parity --photos ../shared/data/lfw-dev/images [--limit 300]
python -m benchmarks.detection speed --video ../shared/data/video/street_1080p.mp4
python -m benchmarks.detection report --to benchmarks/results/DATE-detection

`parity` and `speed` keep what they find under build/detection, `parity` in steps, so that it can be stopped and goes
on; `report` writes what is there as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import detection_parity, detection_speed

CACHE = Path("build/detection")
FACES_PX = (20, 40)
PACKAGES = ("torch", "numpy", "numba", "facenet-pytorch", "torchvision", "opencv-python")


def machine(threads: int) -> dict[str, Any]:
    """Everything a number depends on besides the code: machine, versions, threads, commit, command."""
    cpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = dict(line.split(":", 1) for line in cpu if ":" in line)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": fields["Model name"].strip(),
        "cores": int(fields["CPU(s)"]),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "threads": threads,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "commit": commit,
        "command": "python -m benchmarks.detection " + " ".join(sys.argv[1:]),
    }


def parity(arguments: argparse.Namespace) -> None:
    """Record the reference where it is not recorded yet, run ours, keep the counts."""
    torch.set_num_threads(arguments.threads)
    photos = detection_parity.photos(arguments.photos, arguments.limit)
    if not arguments.recorded_only:
        detection_parity.record(photos, FACES_PX, CACHE)
    counts = [
        {"min_face_px": px, **detection_parity.compare(photos, px, CACHE, threads=arguments.threads).as_dict()}
        for px in FACES_PX
    ]
    _keep("parity", {"machine": machine(arguments.threads), "photos_in_set": len(photos), "results": counts})


def speed(arguments: argparse.Namespace) -> None:
    """Alternate both sides on frames of a video, keep the medians."""
    torch.set_num_threads(arguments.threads)
    results = detection_speed.measure(arguments.video, rounds=arguments.rounds, threads=arguments.threads)
    _keep("speed", {"machine": machine(arguments.threads), "rounds": arguments.rounds, "results": results})


def report(arguments: argparse.Namespace) -> None:
    """Write what was found as Markdown and JSON."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CACHE.glob("*.json"))}
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    arguments.to.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = ["# Detection beside facenet-pytorch's MTCNN", ""]
    for name, part in found.items():
        lines += _section(name, part)
    arguments.to.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _section(name: str, part: dict[str, Any]) -> list[str]:
    host = part["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in host["versions"].items())
    about = (
        f"{host['date']}, {host['cpu']}, {host['cores']} cores (load average over 1, 5, 15 minutes at the end: "
        f"{host['load_average']}), {host['threads']} threads for each side, Python {host['python']}, {versions}, "
        f"commit {host['commit'][:12]}. `{host['command']}`"
    )
    table = _parity_table(part) if name == "parity" else _speed_table(part)
    return [f"## {name.capitalize()}", "", *table, "", about, ""]


def _parity_table(part: dict[str, Any]) -> list[str]:
    lines = [
        f"{part['photos_in_set']} photos in the set. A box is matched at an overlap of {detection_parity.MATCH_IOU} of "
        f"the union; points are in place when all five lie within {detection_parity.POINT_SHARE:.0%} of its width.",
        "",
        "| faces from | photos judged | reference boxes | matched | of these, points in place | extra boxes |",
        "|---|---|---|---|---|---|",
    ]
    for row in part["results"]:
        lines.append(
            f"| {row['min_face_px']} px | {row['photos']} | {row['reference_boxes']} | {row['matched_share']:.3%} | "
            f"{row['points_share']:.3%} | {row['extra_share']:.3%} |"
        )
    return lines


def _speed_table(part: dict[str, Any]) -> list[str]:
    lines = [
        f"Both sides in turn on the same frames, medians of {part['rounds']} rounds; the ratio is the median of the "
        "rounds' ratios. The reference's suppression is compiled here, as torchvision's is.",
        "",
        "| frame | faces from | reference ms | ours ms | ratio | lowest, highest |",
        "|---|---|---|---|---|---|",
    ]
    for row in part["results"]:
        lines.append(
            f"| {row['frame']} | {row['min_face_px']} px | {row['reference_ms']:.1f} | {row['ours_ms']:.1f} | "
            f"{row['ratio']:.2f} | {row['lowest']:.2f}, {row['highest']:.2f} |"
        )
    return lines


def _keep(name: str, found: dict[str, Any]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(_section(name, found)))


def main() -> None:
    """Read the command line and do one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    same = parts.add_parser("parity")
    same.add_argument("--photos", type=Path, required=True)
    same.add_argument("--limit", type=int, default=None, help="so many photos, evenly spread, instead of all")
    same.add_argument("--recorded-only", action="store_true", help="judge only the photos that were recorded before")
    same.set_defaults(run=parity)
    fast = parts.add_parser("speed")
    fast.add_argument("--video", type=Path, required=True)
    fast.add_argument("--rounds", type=int, default=5)
    fast.set_defaults(run=speed)
    for part in (same, fast):
        part.add_argument("--threads", type=int, default=2)
    write = parts.add_parser("report")
    write.add_argument("--to", type=Path, required=True)
    write.set_defaults(run=report)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
