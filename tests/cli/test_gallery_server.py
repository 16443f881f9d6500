"""Commands on a Chroma server: the same results, one line when it is away, and made anew when its data is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.app import App
from attendance.config import Settings, load
from attendance.search.exact import ExactGallery
from attendance.search.served import ServedGallery
from tests.building import FakeApp, photo
from tests.cli.conftest import GREEN, RED, Run
from tests.search.server import ChromaServer


def settings_of(store: Path) -> Settings:
    return load(None, overrides={"store.path": store})


def test_enrolled_looked_up_lost_and_made_anew(
    run: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.mkdir()
    server = ChromaServer(tmp_path / "server")
    monkeypatch.setenv("ATTENDANCE_SEARCH__URL", server.url)
    red, green = photo(tmp_path / "red.png", RED), photo(tmp_path / "green.png", GREEN)
    try:
        assert run("gallery", "verify", "--json", "-").json["clean"]
        for name, picture in (("red", red), ("green", green)):
            assert run("enrol", name, picture).code == 0
        ran = run("gallery", "verify", "--json", "-")
        assert (ran.code, ran.json["clean"], ran.json["templates"]) == (0, True, 2)
        assert not (store / "chroma").exists()
        server.kill()
        for words in (("gallery", "verify"), ("gallery", "rebuild"), ("people", "remove", "green", "--yes")):
            away = run(*words)
            assert (away.code, len(away.err.splitlines())) == (1, 1)
            assert server.url in away.err
        assert run("identify", red, "--json", "-").json["identity_id"] == "red"
        server.empty()
        server.start()
        assert run("gallery", "verify", "--json", "-").json["damaged"]
        assert run("people", "remove", "green", "--yes").code == 0
        ran = run("gallery", "verify", "--json", "-")
        assert (ran.code, ran.json["clean"], ran.json["templates"]) == (0, True, 1)
        assert run("gallery", "rebuild", "--json", "-").json == {"templates": 1}
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("backend", "kind"), [("auto", ExactGallery), ("mirror", ExactGallery), ("chroma", ServedGallery)]
)
def test_who_answers_live_lookups(
    store: Path, monkeypatch: pytest.MonkeyPatch, backend: str, kind: type[object]
) -> None:
    # Nobody listens there: the mirror answers in any case.
    monkeypatch.setenv("ATTENDANCE_SEARCH__URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ATTENDANCE_SEARCH__BACKEND", backend)
    app: App
    with FakeApp(settings_of(store)) as app:
        gallery = app.live_gallery(app.follower())
        assert type(gallery) is kind
        assert gallery.counts() == (0, 0)
