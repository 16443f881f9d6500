"""The model commands as a user types them, on a catalogue of small files and a real server."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from attendance.embed.card_file import card_text
from attendance.embed.registry import find_card, load_embedder
from attendance.errors import ModelError
from attendance.zoo.catalogue import ZooModel, read_catalogue
from attendance.zoo.download import Patience
from attendance.zoo.folder import ModelsFolder, Origin
from tests.building import FakeApp
from tests.cli.conftest import Ran, Run
from tests.embed.conftest import SIDE, WEIGHTS, card
from tests.embed.onnx_file import channel_means
from tests.zoo.site import Site, serving

TINY = channel_means(WEIGHTS, side=112)
EYES = b"the weights of a detector" * 50
NAMELESS = b"a file whose digest nobody published"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def rows(base: str) -> list[dict[str, Any]]:
    common = {"format": "onnx", "licence": "Tests only.", "commercial": "unclear", "source": base}
    pixels = {"size_px": 112, "colour_order": "BGR", "mean": 127.5, "divisor": 128.0}
    face = {"input": pixels, "alignment": "arcface_112", "dimension": 4}
    return [
        {"id": "tiny", "role": "embedder", "summary": "small", "urls": [f"{base}/pub/tiny_v1.onnx"],
         "sha256": sha256(TINY), "reported": {"LFW": 99.5}, "reported_by": "its authors", "card": face, **common},
        {"id": "eyes", "role": "detector", "summary": "sees", "urls": [f"{base}/pub/eyes.onnx"],
         "sha256": sha256(EYES), "bytes": len(EYES), "runs_as": "detect.name yunet", **common},
        {"id": "nameless", "role": "embedder", "summary": "who?", "urls": [f"{base}/pub/nameless.pt"],
         "card": face | {"network": "facenet"}, **common, "format": "torch"},
        {"id": "boxed", "role": "embedder", "summary": "ships", "package": "some_package==1.0",
         **common, "format": "dlib"},
    ]  # fmt: skip


@dataclass(slots=True)
class Zoo:
    """The commands, the server, and the store's models."""

    run: Run
    site: Site
    folder: Path
    app: type[FakeApp]

    def __call__(self, *words: object) -> Ran:
        return self.run("models", *words, make_app=self.app)

    def files(self, model_id: str) -> list[str]:
        found = self.folder / model_id
        return sorted(path.name for path in found.iterdir()) if found.exists() else []


@pytest.fixture
def zoo(run: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as site:
        site.body = TINY
        path = tmp_path / "catalogue.yaml"
        path.write_text(yaml.safe_dump(rows(site.base)), encoding="utf-8")

        class ZooApp(FakeApp):
            @cached_property
            def catalogue(self) -> dict[str, ZooModel]:
                return read_catalogue(path)

            @property
            def patience(self) -> Patience:
                return Patience(connect_s=2.0, read_s=5.0, attempts=2, pause_s=0.001)

        yield Zoo(run, site, store / "models", ZooApp)


WHOLE = ["card.yaml", "licence.yaml", "origin.yaml", "weights.onnx"]


def test_list_says_what_there_is_and_what_is_only_reported(zoo: Zoo) -> None:
    ran = zoo("list")
    assert ran.code == 0 and "LFW 99.50" in ran.out and "nothing of it was measured here" in ran.out
    listed = zoo("list", "--role", "embedder", "--json", "-").json
    assert [row["id"] for row in listed] == ["tiny", "nameless", "boxed"]
    assert not any(row["in_store"] for row in listed)


def test_a_pulled_model_embeds(zoo: Zoo) -> None:
    assert zoo("pull", "tiny", "--accept-licence").code == 0
    assert zoo.files("tiny") == WHOLE
    embedder = load_embedder(find_card("tiny", zoo.folder), device="cpu", threads=1, models_dir=zoo.folder)
    chips = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    expected = ((chips[..., ::-1].astype(np.float64) - 127.5) / 128.0).mean(axis=(1, 2)) @ WEIGHTS
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(chips), expected, atol=1e-5)
    shown = zoo("show", "tiny", "--json", "-").json
    assert shown["reported_note"] == "by the authors; not measured here"
    assert shown["in_store"]["came_from"] == f"{zoo.site.base}/pub/tiny_v1.onnx"
    assert shown["in_store"]["thresholds_measured"] is False
    assert zoo("list", "--json", "-").json[0]["in_store"] is True


def test_a_licence_is_shown_and_accepted_once(zoo: Zoo) -> None:
    ran = zoo("pull", "tiny")
    assert ran.code == 2 and "Tests only." in ran.err and "--accept-licence" in ran.err
    assert zoo.site.asked == [] and zoo.files("tiny") == []
    zoo.site.statuses = [404]
    assert zoo("pull", "tiny", "--accept-licence").code == 1
    assert zoo("pull", "tiny").code == 0
    written = yaml.safe_load((zoo.folder / "tiny" / "licence.yaml").read_text(encoding="utf-8"))
    assert written["licence"] == "Tests only." and written["accepted_by"] and written["accepted_at"].tzinfo is not None


def test_a_second_pull_fetches_nothing_and_a_damaged_file_is_fetched_again(zoo: Zoo) -> None:
    zoo("pull", "tiny", "--accept-licence")
    assert zoo("pull", "tiny", "--json", "-").json["fetched"] is False
    assert len(zoo.site.asked) == 1
    (zoo.folder / "tiny" / "weights.onnx").write_bytes(b"rot")
    ran = zoo("verify", "--json", "-")
    assert ran.code == 1 and ran.json[0]["state"] == "differs"
    assert zoo("pull", "tiny", "--json", "-").json["fetched"] is True
    assert zoo("verify").code == 0


def test_wrong_bytes_leave_no_model(zoo: Zoo) -> None:
    zoo.site.body = TINY[:-1] + b"?"
    ran = zoo("pull", "tiny", "--accept-licence")
    assert ran.code == 1 and ran.err.count("\n") == 1 and "another SHA-256" in ran.err
    assert zoo.files("tiny") == ["licence.yaml"]
    assert zoo("verify").code == 0
    with pytest.raises(ModelError, match="no model 'tiny'"):
        find_card("tiny", zoo.folder)


def test_an_interrupted_pull_goes_on(zoo: Zoo) -> None:
    zoo.site.cuts, zoo.site.statuses = [100], [200, 404]
    assert zoo("pull", "tiny", "--accept-licence").code == 1
    assert [name for name in zoo.files("tiny") if name.endswith(".part")]
    assert zoo("pull", "tiny").code == 0
    assert zoo.site.asked[-1] == ("/pub/tiny_v1.onnx", "bytes=100-")
    assert zoo.files("tiny") == WHOLE


def test_mirrors_are_asked_first(zoo: Zoo) -> None:
    zoo.site.statuses = [404]
    mirrors = ("--mirror", f"{zoo.site.base}/empty/", "--mirror", f"{zoo.site.base}/full")
    assert zoo("pull", "tiny", "--accept-licence", *mirrors).code == 0
    assert [path for path, _ in zoo.site.asked] == ["/empty/tiny/tiny_v1.onnx", "/full/tiny/tiny_v1.onnx"]


def test_two_pulls_at_once_fetch_one_file(zoo: Zoo) -> None:
    zoo("list")
    app, placed = ModelsFolder(zoo.folder), []
    from attendance.cli.model_files import now
    from attendance.zoo.installing import pull

    model = zoo.app.__dict__["catalogue"].func(None)["tiny"]
    threads = [threading.Thread(target=lambda: placed.append(pull(app, model, at=now()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(placed) == [False, False, False, True] and len(zoo.site.asked) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pull", "none"), "known are boxed, eyes, nameless, tiny"),
        (("pull", "boxed"), "comes with the package some_package==1.0"),
        (("pull", "nameless"), "nobody published the SHA-256"),
        (("show", "none"), "known are"),
        (("verify", "tiny"), "there: none"),
        (("remove", "tiny"), "there: none"),
        (("bundle", "b.tar"), "no model in the store"),
        (("import", "nothing.tar"), "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(zoo: Zoo, words: tuple[str, ...], message: str) -> None:
    ran = zoo(*words)
    assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1


def test_a_file_without_a_published_digest_needs_one_typed(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "nameless.pt"
    path.write_bytes(NAMELESS)
    assert zoo("import", path, "nameless", "--accept-licence").code == 2
    ran = zoo("import", path, "nameless", "--accept-licence", "--sha256", sha256(b"another"))
    assert ran.code == 1 and "nothing was imported" in ran.err
    assert zoo("import", path, "nameless", "--accept-licence", "--sha256", "12").code == 2
    assert zoo.files("nameless") == []
    assert zoo("import", path, "nameless", "--accept-licence", "--sha256", sha256(NAMELESS).upper()).code == 0
    assert zoo.files("nameless") == ["card.yaml", "licence.yaml", "origin.yaml", "weights.pt"]
    assert find_card("nameless", zoo.folder).sha256 == sha256(NAMELESS)
    assert zoo("verify").code == 0


def test_a_file_of_the_catalogue_is_imported_by_its_digest(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(EYES)
    (tmp_path / "bad").write_bytes(EYES + b"?")
    assert zoo("import", tmp_path / "bad", "eyes", "--accept-licence").code == 1
    assert zoo.files("eyes") == ["licence.yaml"]
    assert zoo("import", tmp_path / "bad", "eyes", "--sha256", sha256(EYES + b"?")).code == 2
    assert zoo("import", tmp_path / "good", "eyes").code == 0
    assert zoo.files("eyes") == ["licence.yaml", "origin.yaml", "weights.onnx"]
    assert zoo("import", tmp_path / "good").code == 2


def test_a_model_of_ones_own_comes_with_its_card(zoo: Zoo, tmp_path: Path) -> None:
    data = channel_means(WEIGHTS, side=SIDE)
    (tmp_path / "own.onnx").write_bytes(data)
    (tmp_path / "card.yaml").write_text(card_text(card(data, id="own")), encoding="utf-8")
    words = ("import", tmp_path / "own.onnx", "--card", tmp_path / "card.yaml", "--accept-licence")
    assert zoo(*words).code == 0
    assert load_embedder(find_card("own", zoo.folder), device="cpu", threads=1, models_dir=zoo.folder).card.id == "own"
    assert zoo("list", "--json", "-").json[-1]["id"] == "own"
    (tmp_path / "own.onnx").write_bytes(data + b"?")
    assert zoo(*words).code == 1
    assert zoo("verify").code == 0
    assert zoo("remove", "own").code == 2
    assert zoo("remove", "own", "--yes").code == 0 and zoo.files("own") == []


def test_remove_leaves_what_is_in_use(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo("pull", "tiny", "--accept-licence")
    monkeypatch.setenv("ATTENDANCE_MODEL__ID", "tiny")
    assert zoo("remove", "tiny").code == 2 and zoo.files("tiny") == WHOLE
    monkeypatch.delenv("ATTENDANCE_MODEL__ID")
    assert zoo("remove", "tiny").code == 0 and zoo.files("tiny") == []


def test_remove_leaves_the_detectors_usual_file(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin("yunet-2023mar", "detector", sha256(EYES), len(EYES), "a test", datetime(2026, 1, 1, tzinfo=UTC))
    folder = ModelsFolder(zoo.folder)
    with folder.hold(origin.id) as held:
        (held / "draft").write_bytes(EYES)
        folder.place(held, held / "draft", stored_as="weights.onnx", origin=origin, card=None)
    monkeypatch.setenv("ATTENDANCE_DETECT__NAME", "yunet")
    ran = zoo("remove", origin.id, "--yes")
    assert ran.code == 2 and "the configuration uses" in ran.err and zoo.files(origin.id) != []
    monkeypatch.delenv("ATTENDANCE_DETECT__NAME")
    assert zoo("remove", origin.id, "--yes").code == 0


def test_remove_asks_for_what_cannot_be_pulled_again(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "nameless.pt"
    path.write_bytes(NAMELESS)
    zoo("import", path, "nameless", "--accept-licence", "--sha256", sha256(NAMELESS))
    ran = zoo("remove", "nameless")
    assert ran.code == 2 and "--yes" in ran.err and "weights.pt" in zoo.files("nameless")
    assert zoo("remove", "nameless", "--yes").code == 0


@pytest.fixture
def bundled(zoo: Zoo, tmp_path: Path) -> Path:
    """A store with three models, and what to carry them in."""
    zoo("pull", "tiny", "--accept-licence")
    (tmp_path / "eyes").write_bytes(EYES)
    zoo("import", tmp_path / "eyes", "eyes", "--accept-licence")
    data = channel_means(WEIGHTS, side=SIDE)
    (tmp_path / "own.onnx").write_bytes(data)
    (tmp_path / "card.yaml").write_text(card_text(card(data, id="own")), encoding="utf-8")
    zoo("import", tmp_path / "own.onnx", "--card", tmp_path / "card.yaml", "--accept-licence")
    return tmp_path / "models.tar"


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_a_bundle_carries_models_to_another_store(zoo: Zoo, bundled: Path, ending: str) -> None:
    file = bundled.with_suffix(ending)
    made = zoo("bundle", file, "--json", "-").json
    assert made["models"] == ["eyes", "own", "tiny"] and made["sha256"] == sha256(file.read_bytes())
    assert zoo("bundle", file).code == 2
    again = file.with_name(f"again{ending}")
    assert zoo("bundle", again, "--json", "-").json["sha256"] == made["sha256"]
    shutil.rmtree(zoo.folder)
    # The catalogue vouches for its own, whoever typed the bundle's digest for the rest.
    ran = zoo("import", file, "--accept-licence", "--json", "-")
    assert ran.code == 1 and ran.json["imported"] == ["eyes", "tiny"]
    assert [each["id"] for each in ran.json["refused"]] == ["own"] and "--sha256" in ran.json["refused"][0]["reason"]
    ran = zoo("import", file, "own", "--accept-licence", "--sha256", made["sha256"], "--json", "-")
    assert (ran.code, ran.json) == (0, {"imported": ["own"], "refused": []})
    assert zoo("verify").code == 0
    assert zoo.files("tiny") == WHOLE


def remade(source: Path, target: Path, change: Any) -> Path:
    """A tar with every member's name and bytes passed through ``change``."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            name, data = change(member.name, stream.read())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return target


def test_a_bundle_with_other_bytes_is_refused(zoo: Zoo, bundled: Path, tmp_path: Path) -> None:
    zoo("bundle", bundled, "tiny", "eyes")
    shutil.rmtree(zoo.folder)
    bad = remade(bundled, tmp_path / "bad.tar", lambda n, d: (n, d[:-1] + b"?" if n.startswith("tiny/") else d))
    ran = zoo("import", bad, "--accept-licence", "--json", "-")
    assert (ran.code, ran.json["imported"]) == (1, ["eyes"]) and "it was not taken" in ran.json["refused"][0]["reason"]
    assert zoo.files("tiny") == ["licence.yaml"]
    cut = tmp_path / "cut.tar"
    cut.write_bytes(bundled.read_bytes()[:1700])
    assert zoo("import", cut, "--accept-licence").code == 1


@pytest.mark.parametrize("member", ["../../outside", "/tmp/outside", "tiny/../../outside", "C:\\outside", "link"])
def test_a_bundle_cannot_write_elsewhere(zoo: Zoo, bundled: Path, tmp_path: Path, member: str) -> None:
    zoo("bundle", bundled, "tiny")
    shutil.rmtree(zoo.folder)

    def point(name: str, data: bytes) -> tuple[str, bytes]:
        if name != "manifest.json":
            return member, data
        manifest = json.loads(data)
        manifest["models"][0]["file"] = member
        return name, json.dumps(manifest).encode()

    evil = remade(bundled, tmp_path / "evil.tar", point)
    if member == "link":
        with tarfile.open(evil, "a") as tar:
            info = tarfile.TarInfo("tiny/link")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    ran = zoo("import", evil, "--accept-licence")
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) in (before, sorted([*before, zoo.folder.parent]))


def test_a_zip_that_swells_is_cut_off(zoo: Zoo, bundled: Path, tmp_path: Path) -> None:
    zoo("bundle", bundled.with_suffix(".zip"), "tiny")
    shutil.rmtree(zoo.folder)
    swollen = tmp_path / "swollen.zip"
    with (
        zipfile.ZipFile(bundled.with_suffix(".zip")) as old,
        zipfile.ZipFile(swollen, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name) + (bytes(50_000_000) if name != "manifest.json" else b""))
    ran = zoo("import", swollen, "--accept-licence")
    assert ran.code == 1 and "it was not taken" in ran.out + ran.err
    assert zoo.files("tiny") == ["licence.yaml"]


def test_a_torch_file_is_a_zip_and_no_bundle(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(2)}, path)
    assert zipfile.is_zipfile(path)
    ran = zoo("import", path, "nameless", "--accept-licence", "--sha256", sha256(path.read_bytes()))
    assert ran.code == 0, ran.err
