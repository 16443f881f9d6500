"""A file over HTTP that may break off at any byte: resumed where it stopped, taken only with the right digest.

Nothing that a server says is believed: its lengths only tell when to ask again, and what counts is the SHA-256 of the
bytes that lie on the disk. What came before a break stays in the partial file, also when this process is killed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from attendance.errors import ModelError

_log = logging.getLogger(__name__)

LARGEST_BYTES = 4 * 2**30
"""A file of unknown size may be as large; a server that never ends is cut off there."""

MAX_REDIRECTS = 5
SLOWEST_BYTES = 1024
"""Fewer bytes within the patience for one read are a stall."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RETRIED = (408, 425, 429)

Progress = Callable[[int, int | None], None]
"""Told how many bytes there are and how many there will be (None: unknown)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, in seconds, and how often to ask one again that gives nothing new."""

    connect_s: float = 15.0
    read_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0


class _GiveUpError(Exception):
    """This address will not give the file; why."""


class _BrokenOffError(Exception):
    """The transfer ended early; asking again may help."""


def digest_of(path: Path) -> str:
    """The SHA-256 of a file in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    urls: Sequence[str],
    partial: Path,
    *,
    sha256: str,
    size: int | None = None,
    patience: Patience | None = None,
    progress: Progress = lambda done, total: None,
) -> str:
    """Bring the file with this digest to ``partial``, from the first address that has it.

    Args:
        urls: http or https, tried in order; several requests each, as long as they bring something new.
        partial: holds what came before, if anything; is kept when the transfer breaks off.
        sha256: what the bytes must have.
        size: in bytes, None where it is not known.
        patience: None: the default one.
        progress: told now and then.

    Returns:
        The address that it came from; for a file that was whole already, an empty text.

    Raises:
        ModelError: no address gave the bytes (each with its reason), or they cannot be written.
    """
    patience = patience if patience is not None else Patience()
    if partial.exists() and digest_of(partial) == sha256:
        return ""
    _check_room(partial, size)
    faults = []
    with _client(patience) as client:
        for url in urls:
            try:
                _Transfer(client, url, partial, sha256, size, patience, progress).run()
            except _GiveUpError as fault:
                faults.append(f"{_shown(url)}: {fault}")
                _log.info("%s gave nothing: %s", _shown(url), fault)
            else:
                return url
    raise ModelError(f"expected a file with SHA-256 {sha256} from one of {len(urls)} addresses; {'; '.join(faults)}")


def _client(patience: Patience) -> httpx.Client:
    timeout = httpx.Timeout(patience.read_s, connect=patience.connect_s)
    return httpx.Client(timeout=timeout, follow_redirects=False, headers={"Accept-Encoding": "identity"})


def _shown(url: str) -> str:
    """The address without a user's password."""
    return re.sub(r"//[^/@]*@", "//", url)


@dataclass(frozen=True, slots=True)
class _Transfer:
    """One address and one partial file."""

    client: httpx.Client
    url: str
    partial: Path
    sha256: str
    size: int | None
    patience: Patience
    progress: Progress

    def run(self) -> None:
        """Ask until the digest is right. Raises _GiveUpError when this address has nothing more to give."""
        resumed, in_vain, most, why = self._have() > 0, 0, self._have(), ""
        while in_vain < self.patience.attempts:
            before = self._have()
            ended = False
            try:
                self._request(before)
                ended = True
            except _BrokenOffError as fault:
                why = str(fault)
            have = self._have()
            if have > 0 and digest_of(self.partial) == self.sha256:
                return
            if ended and not (self.size is not None and before < have < self.size):
                self._drop()
                if not resumed:
                    raise _GiveUpError("its bytes have another SHA-256")
                # What was there before may have been of another file: once more from the beginning.
                resumed, in_vain, most = False, 0, 0
                continue
            in_vain, most = (0, have) if have > most else (in_vain + 1, most)
            if in_vain < self.patience.attempts:
                time.sleep(self.patience.pause_s * 2**in_vain)
        raise _GiveUpError(f"{why}; asked {self.patience.attempts} times without more, {self._have()} bytes are kept")

    def _have(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _drop(self) -> None:
        self.partial.unlink(missing_ok=True)

    def _request(self, offset: int) -> None:
        """One request for what is missing, written behind what is there."""
        try:
            with self._answer(offset) as answer:
                if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    # There is nothing behind what is here: its file ends sooner, so the digest has the last word.
                    return
                start, total = self._begin(answer, offset)
                self._write(answer, start, total)
        except httpx.TimeoutException as error:
            raise _BrokenOffError(f"nothing came for {self.patience.read_s:g} s") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _BrokenOffError(f"the connection failed ({error})") from error

    @contextmanager
    def _answer(self, offset: int) -> Iterator[httpx.Response]:
        headers = {"Range": f"bytes={offset}-"} if offset > 0 else {}
        request = self.client.build_request("GET", self.url, headers=headers)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self.client.send(request, stream=True)
            try:
                if answer.next_request is None:
                    yield answer
                    return
                if request.url.scheme == "https" and answer.next_request.url.scheme != "https":
                    raise _GiveUpError(f"it leads from https to {answer.next_request.url.scheme}")
                request = answer.next_request
            finally:
                answer.close()
        raise _GiveUpError(f"it leads on more than {MAX_REDIRECTS} times")

    def _begin(self, answer: httpx.Response, offset: int) -> tuple[int, int | None]:
        """Where the body belongs in the file, and the whole file's size as far as it is told."""
        length = _number(answer.headers.get("Content-Length"))
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _GiveUpError(f"it sends the file as {answer.headers['Content-Encoding']}")
        if answer.status_code == httpx.codes.OK:
            return 0, self.size if self.size is not None else length
        if answer.status_code == httpx.codes.PARTIAL_CONTENT and offset > 0:
            told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if told is None or int(told[1]) != offset:
                self._drop()
                raise _BrokenOffError(f"it gives {answer.headers.get('Content-Range')!r} when asked from byte {offset}")
            return offset, self.size if self.size is not None else _number(told[2])
        problem = f"it answers {answer.status_code} {answer.reason_phrase}".strip()
        retried = answer.status_code >= 500 or answer.status_code in _RETRIED
        raise _BrokenOffError(problem) if retried else _GiveUpError(problem)

    def _write(self, answer: httpx.Response, start: int, total: int | None) -> None:
        most = self.size if self.size is not None else LARGEST_BYTES
        done, since, then = start, start, time.monotonic()
        with _writing(self.partial, start) as write:
            for block in answer.iter_raw():
                write(block[: most + 1 - done])
                done = min(done + len(block), most + 1)
                if done > most:
                    break
                self.progress(done, total)
                now = time.monotonic()
                if now - then > self.patience.read_s:
                    if done - since < SLOWEST_BYTES:
                        raise _BrokenOffError(f"{done - since} bytes came in {now - then:.0f} s")
                    since, then = done, now


@contextmanager
def _writing(partial: Path, start: int) -> Iterator[Callable[[bytes], int]]:
    """Writes from byte ``start`` on, what stood behind it gone. A full disk is a ModelError."""
    try:
        with partial.open("r+b" if partial.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            yield file.write
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritten(partial, error) from error


def _unwritten(partial: Path, error: OSError) -> ModelError:
    if error.errno in _NO_ROOM:
        return ModelError(
            f"expected room for the file in {partial.parent}, the disk is full: make room and run it again, it goes on "
            "where it stopped"
        )
    return ModelError(f"expected to write {partial}, got: {error.strerror}")


def _check_room(partial: Path, size: int | None) -> None:
    """Refuse at once what cannot fit."""
    if size is None:
        return
    missing = size - (partial.stat().st_size if partial.exists() else 0)
    free = shutil.disk_usage(partial.parent).free
    if missing > free:
        raise ModelError(
            f"expected {missing / 1e6:.0f} MB of room in {partial.parent}, there are {free / 1e6:.0f} MB: make room"
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
