"""Forms with photos, kept in memory: what people send is never written to a disk, not even for a moment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from attendance.service.problem import Code, ProblemError

_MAX_TEXT_BYTES = 10_000


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, whose files go to the disk above a size that no request reaches."""

    spool_max_size = sys.maxsize


@dataclass(frozen=True, slots=True)
class PhotoForm:
    """What a form held: the bytes of each photo by field, and the values of the text fields."""

    photos: dict[str, bytes]
    texts: dict[str, list[str]]


async def read_photo_form(request: Request, *, photos: Sequence[str], texts: Sequence[str] = ()) -> PhotoForm:
    """Read ``multipart/form-data`` with a file in each of the fields ``photos``; other fields are left aside.

    Raises ProblemError: ``missing_image``, ``unsupported_media_type``, ``invalid_request``.
    """
    _check_kind(request, photos)
    parser = _InMemoryParser(
        request.headers,
        request.stream(),
        max_files=len(photos) + 2,
        max_fields=len(texts) + 8,
        max_part_size=_MAX_TEXT_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ProblemError(Code.INVALID_REQUEST, f"expected a well-formed form with files: {error.message}") from error
    try:
        for name in photos:
            if len(form.getlist(name)) > 1:
                raise ProblemError(Code.INVALID_REQUEST, f"expected the field {name} once, got it more often")
        found = {name: await _photo(form.get(name), name) for name in photos}
        return PhotoForm(found, {name: [v for v in form.getlist(name) if isinstance(v, str)] for name in texts})
    finally:
        await form.close()


def _check_kind(request: Request, photos: Sequence[str]) -> None:
    kind = request.headers.get("content-type", "")
    is_empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if not kind and is_empty:
        raise _missing(photos[0], "got an empty request")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        detail = (
            f"expected multipart/form-data with the files {', '.join(photos)}, got {kind[:80] or 'no content type'}"
        )
        raise ProblemError(Code.UNSUPPORTED_MEDIA_TYPE, detail)


async def _photo(value: UploadFile | str | None, name: str) -> bytes:
    if value is None:
        raise _missing(name, "got none")
    if isinstance(value, str):
        raise _missing(name, "got text")
    data = await value.read()
    # A browser sends a field whose file was not chosen as one without name and content.
    if not data and not value.filename:
        raise _missing(name, "got a field without a file")
    return data


def _missing(name: str, got: str) -> ProblemError:
    return ProblemError(Code.MISSING_IMAGE, f"expected a photo as file in the form's field {name}, {got}", image=name)
