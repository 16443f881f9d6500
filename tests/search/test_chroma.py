"""Embedded Chroma: locked, private, let go of completely, and never trusted after a death or damage."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest

from attendance.errors import GalleryDamagedError, LockHeldError, ModelMismatchError
from attendance.search.chroma import ChromaStore, GraphSettings, open_chroma
from attendance.types import GalleryEntry
from tests.enrolled import CARD, DIMENSION, chroma_store, vector

ROOT = Path(__file__).parents[2]


def filled(folder: Path, count: int = 50) -> ChromaStore:
    """A closed store with ``count`` templates of as many people."""
    store = chroma_store(folder)
    with store.replacement() as gallery:
        gallery.upsert([GalleryEntry(f"t-{n:03d}", f"person-{n:03d}", vector(n)) for n in range(count)])
    return store


def open_files_under(folder: Path) -> list[str]:
    targets = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(entry.readlink()))
        except OSError:
            continue
    return [target for target in targets if target.startswith(f"{folder}{os.sep}")]


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def as_anybody_reads(path: Path) -> tuple[dict[str, Any], Any]:
    """Configuration and metadata, as one sees them who points chromadb at the folder."""
    client: Any = chromadb.PersistentClient(str(path))
    collection = client.get_collection("templates", embedding_function=None)
    found = collection.configuration_json, collection.metadata
    client.close()
    return found


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.open() as gallery:
        gallery.remove(["t-007"])
        gallery.upsert([GalleryEntry("t-100", "person-100", vector(100))])
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)
        held = {entry.template_id: entry for entry in gallery.entries()}
        assert "t-007" not in held
        np.testing.assert_allclose(held["t-100"].vector, vector(100), atol=1e-6)
        assert gallery.nearest(vector(100)[None], k=1)[0][0].identity_id == "person-100"


def test_a_change_by_another_process_is_seen_after_reopening(tmp_path: Path) -> None:
    store = filled(tmp_path)
    code = """
import sys
from pathlib import Path
from attendance.types import GalleryEntry
from tests.enrolled import chroma_store, vector
with chroma_store(Path(sys.argv[1])).open() as gallery:
    gallery.upsert([GalleryEntry("t-new", "person-new", vector(999))])
"""
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    with store.open() as gallery:
        assert gallery.counts() == (51, 51)
        assert gallery.nearest(vector(999)[None], k=1)[0][0].identity_id == "person-new"


def test_a_batch_larger_than_chroma_takes(tmp_path: Path) -> None:
    store = ChromaStore(tmp_path / "chroma", CARD, 2, GraphSettings(max_neighbors=8, ef_construction=20))
    angles = np.linspace(0, 6, 6000)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    with store.replacement() as gallery:
        gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n % 10}", row) for n, row in enumerate(rows)])
        assert gallery.counts() == (10, 6000)
        assert gallery.remove([f"t-{n}" for n in range(100)] + ["never"]) == 100


def test_closing_lets_go_of_files_and_threads(tmp_path: Path) -> None:
    store = filled(tmp_path)
    tasks: list[int] = []
    for _ in range(5):
        with store.open() as gallery:
            gallery.nearest(vector(1)[None], k=3)
            assert open_files_under(tmp_path)
        assert open_files_under(tmp_path) == []
        tasks.append(len(os.listdir("/proc/self/task")))
    assert tasks[-1] <= tasks[0] + 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chroma", "chroma.lock"]


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    folder = tmp_path / "chroma"
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert set(modes.values()) == {0o600, 0o700}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_cosine_no_embedding_function_and_the_settings_are_on_record(tmp_path: Path) -> None:
    filled(tmp_path)
    configuration, metadata = as_anybody_reads(tmp_path / "chroma")
    assert configuration["embedding_function"] in (None, {"type": "legacy"})
    assert (
        configuration["hnsw"] | {"space": "cosine", "max_neighbors": 32, "ef_construction": 200}
        == configuration["hnsw"]
    )
    assert metadata == {"card_id": CARD, "dimension": DIMENSION}


def test_another_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = filled(tmp_path)
    others = (replace(store, card_id="card-b"), replace(store, dimension=8))
    for other in others:
        with pytest.raises(ModelMismatchError, match=r"card-a.*set model\.id to card-a, or enrol"), other.open():
            pytest.fail("opened")
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)


def test_another_graph_is_reported_and_a_rebuilt_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(tmp_path)
    wider = replace(store, settings=GraphSettings(max_neighbors=48, ef_construction=300))
    with wider.open() as gallery:
        assert gallery.fault is not None
        assert "max_neighbors 32 instead of 48, ef_construction 200 instead of 300" in gallery.fault
        assert "gallery rebuild" in gallery.fault
    assert gallery.fault in caplog.text
    with wider.replacement():
        pass
    with wider.open() as gallery:
        assert gallery.fault is None


def test_the_query_breadth_follows_the_settings(tmp_path: Path) -> None:
    store = filled(tmp_path)
    broader = replace(store, settings=replace(store.settings, ef_search=123))
    with broader.open() as gallery:
        assert gallery.fault is None
    with open_chroma(store.path, card_id=CARD, dimension=DIMENSION, ef_search=123) as gallery:
        assert gallery.counts() == (50, 50)
    assert as_anybody_reads(store.path)[0]["hnsw"]["ef_search"] == 123


def test_no_gallery_is_damage_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(GalleryDamagedError, match="found none"), chroma_store(tmp_path).open():
        pytest.fail("opened")
    assert not (tmp_path / "chroma").exists()


@pytest.mark.parametrize("name", ["chroma.sqlite3", "header.bin", "index_metadata.pickle", "length.bin"])
def test_broken_files_are_damage_and_a_replacement_heals_them(tmp_path: Path, name: str) -> None:
    store = filled(tmp_path)
    next(store.path.rglob(name)).write_bytes(b"\x00nonsense" * 300)
    for _ in range(2):
        with pytest.raises(GalleryDamagedError, match="rebuild"), store.open() as gallery:
            gallery.entries()
    assert open_files_under(tmp_path) == []
    with store.replacement() as gallery:
        gallery.upsert([GalleryEntry("t-1", "person-01", vector(1))])
    with store.open() as gallery:
        assert gallery.counts() == (1, 1)


def test_a_gallery_that_its_opener_died_in_is_not_touched(tmp_path: Path) -> None:
    store = filled(tmp_path)
    code = """
import os, sys
from pathlib import Path
from tests.enrolled import chroma_store
with chroma_store(Path(sys.argv[1])).open() as gallery:
    os.kill(os.getpid(), 9)
"""
    assert python(code, tmp_path).returncode == -9
    with pytest.raises(GalleryDamagedError, match="process that died"), store.open():
        pytest.fail("opened")
    with store.replacement():
        pass
    with store.open() as gallery:
        assert gallery.counts() == (0, 0)


def test_an_error_inside_closes_cleanly(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with pytest.raises(RuntimeError, match="something else"), store.open():
        raise RuntimeError("something else")
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)


def test_an_unfinished_replacement_leaves_the_old_one(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with pytest.raises(ModelMismatchError), store.replacement() as gallery:
        gallery.upsert([GalleryEntry("t-1", "person-01", vector(1, dimension=3))])
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chroma", "chroma.lock"]


def test_a_second_opener_waits_or_is_told_who_holds_it(tmp_path: Path) -> None:
    store = filled(tmp_path)
    opened, leave = threading.Event(), threading.Event()

    def first() -> None:
        with store.open():
            opened.set()
            leave.wait(20)

    thread = threading.Thread(target=first)
    thread.start()
    assert opened.wait(20)
    code = """
import sys
from pathlib import Path
from tests.enrolled import chroma_store
with chroma_store(Path(sys.argv[1]), wait_s=float(sys.argv[2])).open() as gallery:
    print(gallery.counts())
"""
    with pytest.raises(LockHeldError, match=rf"held by process {os.getpid()} "), replace(store, lock_wait_s=0).open():
        pytest.fail("opened")
    refused = python(code, tmp_path, 0.1)
    assert refused.returncode == 1
    assert f"LockHeldError: the gallery lock {store.path}.lock" in refused.stderr
    assert f"held by process {os.getpid()} " in refused.stderr
    threading.Timer(0.5, leave.set).start()
    waited = python(code, tmp_path, 30)
    thread.join()
    assert waited.stdout == "(50, 50)\n", waited.stderr
