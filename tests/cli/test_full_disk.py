"""A full disk and denied rights while the gallery is made: one line, the old gallery stays, and room mends it.

The ledger, the events file, the builder and the backup are tried so in their own tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import RED, Run, insert_people, open_ledger
from tests.fakes import person

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
REBUILD = """
import resource, sys
from attendance.cli.main import main
from tests.building import FakeApp
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.exit(main(["gallery", "rebuild", "--store", sys.argv[2]], make_app=FakeApp))
"""


@pytest.fixture
def crowd(store: Path) -> Path:
    """A store with people whose gallery needs more than 300 kB."""
    with open_ledger(store) as ledger:
        ledger.import_people([person(f"person-{number:04d}", RED) for number in range(800)])
    return store


def test_a_gallery_that_finds_no_room_leaves_the_old_one(run: Run, crowd: Path) -> None:
    assert run("gallery", "rebuild").code == 0
    with open_ledger(crowd) as ledger:
        assert ledger.insert_person(person("another", RED))
    done = subprocess.run(
        [sys.executable, "-c", REBUILD, "300000", str(crowd)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "room" in done.stderr or "disk" in done.stderr, done.stderr
    looked = run("gallery", "verify", "--json", "-")
    assert (looked.json["damaged"], looked.json["missing"]) == (False, ["another-0"])
    assert run("gallery", "rebuild", "--json", "-").json == {"templates": 801}


@pytest.fixture
def lent_store() -> Iterator[Path]:
    """A store that may be read and not written; root goes on as nobody until the test is over."""
    folder = Path(tempfile.mkdtemp(prefix="attendance-"))
    user = os.geteuid()
    yield folder / "store"
    os.seteuid(user)
    shutil.rmtree(folder)


def test_a_store_that_may_not_be_written_is_one_line(run: Run, lent_store: Path) -> None:
    insert_people(lent_store, "red")
    lent_store.parent.chmod(0o755)
    for path in (lent_store, *lent_store.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o666)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    for words in (("gallery", "rebuild"), ("people", "edit", "red", "--name", "Rot")):
        denied = run(*words, "--store", lent_store, with_store=False)
        assert (denied.code, denied.err.count("\n")) == (1, 1), (words, denied.err)
        assert str(lent_store) in denied.err
