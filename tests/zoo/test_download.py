"""A download from a real server that truncates, stalls, lies, serves other bytes, leads elsewhere and comes back."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from attendance.errors import ModelError
from attendance.zoo.download import Patience, digest_of, download
from tests.zoo.site import BODY, Site

SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(connect_s=2.0, read_s=0.3, attempts=3, pause_s=0.001)
HALF = len(BODY) // 2
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def fetch(site: Site, partial: Path, *, size: int | None = None, path: str = "/file") -> str:
    return download([site.base + path], partial, sha256=SHA256, size=size, patience=QUICK)


def ranges(site: Site) -> list[str | None]:
    return [wanted for _, wanted in site.asked]


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_whole_file_comes_in_one_request(site: Site, partial: Path, size: int | None) -> None:
    told: list[tuple[int, int | None]] = []
    came_from = download(
        [f"{site.base}/file"], partial, sha256=SHA256, size=size, progress=lambda d, t: told.append((d, t))
    )
    assert came_from == f"{site.base}/file"
    assert partial.read_bytes() == BODY
    assert ranges(site) == [None]
    assert told[-1] == (len(BODY), len(BODY)) and [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_whole_file_is_not_asked_for_again(site: Site, partial: Path) -> None:
    partial.write_bytes(BODY)
    assert fetch(site, partial) == ""
    assert site.asked == []


def test_a_cut_connection_is_resumed_at_the_byte(site: Site, partial: Path) -> None:
    site.cuts = [1000, 70_000, HALF]
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    assert ranges(site) == [None, "bytes=1000-", "bytes=71000-", f"bytes={71000 + HALF}-"]


def test_a_stall_is_given_up_and_resumed(site: Site, partial: Path) -> None:
    site.stalls = [HALF]
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    assert ranges(site) == [None, f"bytes={HALF}-"]


def test_a_server_that_only_drips_is_given_up_and_resumed(site: Site, partial: Path) -> None:
    site.drips = [HALF]
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    first, second = ranges(site)
    assert first is None and second is not None
    assert HALF < int(second.removeprefix("bytes=").removesuffix("-")) < HALF + 400
    assert site.dripped < 40


def test_without_ranges_it_begins_anew_and_ends(site: Site, partial: Path) -> None:
    site.ranges, site.cuts = False, [HALF, HALF // 2]
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    # Each time less than before: that is no progress, and such a server is not asked for ever.
    partial.unlink()
    site.cuts = [HALF, 10, 20, 10, 20, 10, 20]
    with pytest.raises(ModelError, match="asked 3 times without more"):
        fetch(site, partial)


@pytest.mark.parametrize("off_by", [-1000, 1000])
def test_a_lie_about_the_length_changes_nothing_where_the_size_is_known(site: Site, partial: Path, off_by: int) -> None:
    site.length_off_by = [off_by]
    fetch(site, partial, size=len(BODY))
    assert partial.read_bytes() == BODY


def test_too_long_an_announcement_is_seen_through_by_the_digest(site: Site, partial: Path) -> None:
    site.length_off_by = [1000]
    fetch(site, partial)
    assert partial.read_bytes() == BODY and len(site.asked) == 1


def test_too_short_an_announcement_is_refused_where_nothing_else_is_known(site: Site, partial: Path) -> None:
    site.length_off_by = [-1000]
    with pytest.raises(ModelError, match="its bytes have another SHA-256"):
        fetch(site, partial)
    assert not partial.exists()


@pytest.mark.parametrize("size", [None, len(BODY)])
@pytest.mark.parametrize("bad", [b"<html>not here</html>", BODY[:-1] + b"x", BODY + b"x"], ids=["page", "flip", "long"])
def test_wrong_bytes_are_refused_and_not_kept(site: Site, partial: Path, bad: bytes, size: int | None) -> None:
    site.wrong = [bad] * 9
    with pytest.raises(
        ModelError, match=rf"SHA-256 {SHA256} from one of 1 addresses; {site.base}/file: its bytes have"
    ):
        fetch(site, partial, size=size)
    assert not partial.exists()


def test_what_was_kept_of_another_file_costs_one_more_request_only(site: Site, partial: Path) -> None:
    partial.write_bytes(b"of yesterday's file")
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    assert ranges(site) == ["bytes=19-", None]


@pytest.mark.parametrize("kept", [len(BODY), len(BODY) + 5])
def test_a_range_beyond_the_end_begins_anew(site: Site, partial: Path, kept: int) -> None:
    partial.write_bytes(b"x" * kept)
    fetch(site, partial)
    assert partial.read_bytes() == BODY


def test_a_part_from_another_place_than_asked_is_not_put_in(site: Site, partial: Path) -> None:
    partial.write_bytes(BODY[:HALF])
    site.content_range = f"bytes 0-{len(BODY) - 1}/{len(BODY)}"
    fetch(site, partial)
    assert partial.read_bytes() == BODY
    assert ranges(site) == [f"bytes={HALF}-", None]


def test_redirects_are_followed_but_not_for_ever(site: Site, partial: Path) -> None:
    site.redirects = {"/file": "/there", "/there": f"{site.base}/end", "/round": "/round"}
    fetch(site, partial)
    assert [path for path, _ in site.asked] == ["/file", "/there", "/end"]
    partial.unlink()
    with pytest.raises(ModelError, match="it leads on more than 5 times"):
        fetch(site, partial, path="/round")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_redirects_lead_to_http_only(site: Site, partial: Path, location: str) -> None:
    site.redirects = {"/file": location}
    with pytest.raises(ModelError, match="expected a file with SHA-256"):
        fetch(site, partial)
    assert not partial.exists()


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(site: Site, partial: Path) -> None:
    site.statuses = [503, 429]
    fetch(site, partial)
    assert len(site.asked) == 3
    partial.unlink()
    site.asked.clear()
    site.statuses = [404]
    with pytest.raises(ModelError, match="it answers 404 Not Found"):
        fetch(site, partial)
    assert len(site.asked) == 1


def test_a_packed_answer_is_refused(site: Site, partial: Path) -> None:
    site.encoding = "gzip"
    with pytest.raises(ModelError, match="it sends the file as gzip"):
        fetch(site, partial)


def test_the_next_address_goes_on_where_the_last_one_ended(site: Site, partial: Path) -> None:
    site.cuts, site.statuses = [HALF], [200, 404]
    urls = [f"{site.base}/first", f"{site.base}/second"]
    assert download(urls, partial, sha256=SHA256, patience=QUICK) == urls[1]
    assert site.asked == [("/first", None), ("/first", f"bytes={HALF}-"), ("/second", f"bytes={HALF}-")]


def test_every_address_that_failed_is_named_without_its_password(site: Site, partial: Path) -> None:
    site.statuses = [404, 403]
    urls = [f"{site.base}/first", site.base.replace("//", "//ana:secret@") + "/second"]
    with pytest.raises(ModelError) as raised:
        download(urls, partial, sha256=SHA256, patience=QUICK)
    assert "/first: it answers 404" in str(raised.value) and "/second: it answers 403" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_nobody_there_is_one_line(partial: Path) -> None:
    with pytest.raises(ModelError, match="the connection failed"):
        download(["http://127.0.0.1:9/file"], partial, sha256=SHA256, patience=QUICK)


def test_a_file_that_cannot_fit_is_refused_before_the_first_byte(site: Site, partial: Path) -> None:
    with pytest.raises(ModelError, match="MB of room"):
        fetch(site, partial, size=2**60)
    assert site.asked == []


CHILD = """
import resource, sys
from pathlib import Path
from attendance.errors import ModelError
from attendance.zoo.download import Patience, download
if sys.argv[4] != "-":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    download([sys.argv[1]], Path(sys.argv[2]), sha256=sys.argv[3], patience=Patience(read_s=20.0))
except ModelError as error:
    sys.exit(str(error))
"""


def child(site: Site, partial: Path, limit: str = "-") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, f"{site.base}/file", str(partial), SHA256, limit]
    return subprocess.Popen(words, cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE, text=True)


def test_a_full_disk_is_one_line_and_the_rest_comes_later(site: Site, partial: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    with child(site, partial, str(HALF)) as running:
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1 and "the disk is full" in err and err.count("\n") == 1
    assert partial.stat().st_size == HALF
    fetch(site, partial)
    assert digest_of(partial) == SHA256 and ranges(site)[-1] == f"bytes={HALF}-"


def test_a_killed_download_goes_on_where_it_stopped(site: Site, partial: Path) -> None:
    site.stalls = [HALF]
    with child(site, partial) as running:
        while not partial.exists() or partial.stat().st_size < HALF:
            assert running.poll() is None
        running.kill()
    fetch(site, partial)
    assert digest_of(partial) == SHA256 and ranges(site) == [None, f"bytes={HALF}-"]
