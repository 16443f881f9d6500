"""``python -m lab list``: every name, for a person and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.__main__ import main
from lab.losses.registry import LOSSES
from lab.nets.registry import BACKBONES

# What the project promises, written out: a name that is renamed by accident is found here.
PROMISED = {
    "losses": "softmax center n-softmax sphereface cosface arcface arcface-safe arcface-easy li-arcface adaface "
    "elasticface-arc elasticface-arc-plus elasticface-cos elasticface-cos-plus combined triplet-batch-hard "
    "triplet-semi-hard",
    "backbones": "iresnet-34 iresnet-50 iresnet-100 resnet-50 mobilefacenet airface edgeface-xxs edgeface-xs "
    "edgeface-s edgeface-base mobilenetv3-large mobilenetv3-small efficientnet-b0 ghostnet edgenext-s vit-small "
    "vit-base deit-small resnet-50-headed",
}


@pytest.mark.parametrize("kind", PROMISED)
def test_every_promised_name_is_listed(kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    assert main(["list", kind, "--json", str(path)]) == 0
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    listed = json.loads(path.read_text(encoding="utf-8"))[kind]
    assert printed == [row["name"] for row in listed] == PROMISED[kind].split()
    assert all(row["source"] for row in listed)


def test_the_lists_are_the_registries() -> None:
    assert PROMISED["losses"].split() == list(LOSSES)
    assert PROMISED["backbones"].split() == list(BACKBONES)


def test_json_alone_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses", "--json", "-", "--quiet"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["losses"]] == list(LOSSES)


@pytest.mark.parametrize("arguments", [["list"], ["list", "loss"]])
def test_a_kind_that_there_is_not_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
