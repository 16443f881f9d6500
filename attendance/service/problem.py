"""Every error of the service is ``application/problem+json`` (RFC 9457) with a ``code`` that stays.

What goes wrong on purpose is raised as a `ProblemError`; what FastAPI raises by itself is translated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attendance.errors import AttendanceError

MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """What programs may rely on to tell errors apart."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    BROKEN_IMAGE = "broken_image"
    IMAGE_TOO_LARGE = "image_too_large"
    MISSING_IMAGE = "missing_image"
    UNKNOWN_METRIC = "unknown_metric"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNAUTHORIZED = "unauthorized"
    CROSS_SITE = "cross_site"
    UNKNOWN_HOST = "unknown_host"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"


KINDS: Mapping[Code, tuple[int, str]] = {
    Code.NO_FACE: (422, "A photo shows no face"),
    Code.SEVERAL_FACES: (422, "A photo shows several faces of like size"),
    Code.BROKEN_IMAGE: (422, "A photo cannot be read"),
    Code.IMAGE_TOO_LARGE: (413, "A photo or the request is too large"),
    Code.MISSING_IMAGE: (422, "A photo is missing"),
    Code.UNKNOWN_METRIC: (422, "The metric is unknown"),
    Code.INVALID_REQUEST: (422, "The request does not fit"),
    Code.UNSUPPORTED_MEDIA_TYPE: (415, "The request is no form with files"),
    Code.UNAUTHORIZED: (401, "The token is missing or wrong"),
    Code.CROSS_SITE: (403, "The request comes from another web site"),
    Code.UNKNOWN_HOST: (421, "The service does not go by this name"),
    Code.NOT_FOUND: (404, "There is nothing here"),
    Code.METHOD_NOT_ALLOWED: (405, "The method is not known here"),
    Code.TIMEOUT: (408, "The request took too long to arrive"),
    Code.OVERLOADED: (503, "The service is busy"),
    Code.INTERNAL: (500, "The service failed"),
}
"""Status and title of each code."""

_BY_STATUS = {
    400: Code.INVALID_REQUEST,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.IMAGE_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
}


class ProblemError(AttendanceError):
    """An answer that is an error: its code, a sentence on what was expected, what came and what to do, and more."""

    def __init__(self, code: Code, detail: str, *, headers: Mapping[str, str] | None = None, **more: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.headers = dict(headers) if headers is not None else {}
        self.more = more

    def response(self) -> Response:
        """The answer."""
        return problem_response(self.code, self.detail, headers=self.headers, more=self.more)


def problem_response(
    code: Code,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
    status: int | None = None,
) -> Response:
    """The answer for a code; ``more`` are members besides those of RFC 9457, ``status`` replaces the code's own."""
    usual, title = KINDS[code]
    body = {
        "type": type_of(code),
        "title": title,
        "status": usual if status is None else status,
        "detail": detail,
        "code": str(code),
        **(more if more is not None else {}),
    }
    return JSONResponse(body, status_code=body["status"], headers=headers, media_type=MEDIA_TYPE)


def type_of(code: Code) -> str:
    """RFC 9457's ``type``: a name, not an address."""
    return f"urn:face-attendance:problem:{code}"


async def on_problem(request: Request, error: Exception) -> Response:
    """What was raised on purpose."""
    assert isinstance(error, ProblemError)
    return error.response()


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework raises: no such route, no such method."""
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, Code.INTERNAL if error.status_code >= 500 else Code.INVALID_REQUEST)
    detail = {
        Code.NOT_FOUND: "there is no such address: / tells what there is",
        Code.METHOD_NOT_ALLOWED: f"{request.method} is not known at this address: the header Allow names what is",
    }.get(code, HTTPStatus(error.status_code).phrase)
    return problem_response(code, detail, headers=error.headers, status=error.status_code)


async def on_invalid(request: Request, error: Exception) -> Response:
    """A field that does not fit its schema; the values themselves are not sent back."""
    assert isinstance(error, RequestValidationError)
    faults = [{"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return problem_response(Code.INVALID_REQUEST, detail, more={"errors": faults})
