"""Who may ask: the token, the name that the service goes by, and where a page that asks came from.

On loopback no token is needed, so a web page that somebody opens on this machine could ask as well: requests that come
from another site (``Origin``) or under another name (``Host``, DNS rebinding) are refused there. Everywhere else the
token is demanded, which no other site has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from attendance.config import ServiceSection
from attendance.config.service import token_fault
from attendance.errors import ConfigError
from attendance.service.problem import Code, ProblemError

_log = logging.getLogger(__name__)

OPEN = frozenset({"/", "/healthz", "/readyz"})
"""What needs no token: it tells nothing of anybody. So do the pages' own files, under `STATIC`."""

STATIC = "/static/"
PAGES = frozenset({"/docs", "/openapi.json", "/metrics"})
"""What a browser may also open with the token as password (HTTP Basic): a page that is opened bears no token."""

# A container engine puts secrets there; their rights are the mount's and nobody else is in the container.
CONTAINER_SECRETS = Path("/run/secrets")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. ``token`` is None where none is demanded; ``names`` are host names, empty: any."""

    token: str | None = field(default=None, repr=False)
    names: frozenset[str] = _LOOPBACK_NAMES


def access_for(section: ServiceSection, *, host: str, address: str) -> Access:
    """The rules for a service that listens on ``address``, an IP address, by the name of ``host``.

    Raises ConfigError where a token is needed and there is none, or the one there is cannot be used.
    """
    token = read_token(section)
    is_loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if token is None and not is_loopback:
        raise ConfigError(
            f"service.host {host} is not loopback and demands a token: set ATTENDANCE_SERVICE__TOKEN or "
            f"service.token_file, or listen on 127.0.0.1"
        )
    if token is None and section.public_name:
        raise ConfigError(
            f"service.public_name {section.public_name} demands a token: set ATTENDANCE_SERVICE__TOKEN or "
            f"service.token_file"
        )
    if not is_loopback:
        return Access(token, frozenset())
    names = {*_LOOPBACK_NAMES, host.lower(), address.lower(), section.public_name.lower()} - {""}
    return Access(token, frozenset(names))


def read_token(section: ServiceSection, *, mounted: Path = CONTAINER_SECRETS) -> str | None:
    """The token, from the environment or its file; None where neither is set.

    Raises ConfigError for a file that cannot be read, that others may use (unless it lies in ``mounted``), or that
    holds no token.
    """
    held = section.token.get_secret_value()
    if held:
        return held
    path = section.token_file
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read(4096).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"service.token_file {path} cannot be read ({reason}): name a file with the token") from error
    if os.name == "posix" and mode & 0o077 and path.parent != mounted:
        raise ConfigError(f"service.token_file {path} has mode {mode:04o} and others may use it: chmod 600 {path}")
    fault = token_fault(token)
    if fault is not None:
        raise ConfigError(f"service.token_file {path}: {fault}")
    return token


class Guard:
    """Lets requests through that may ask, before anything of them is read but their head."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access
        self._digest = _digest(access.token) if access.token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem, or hand the request on."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except ProblemError as error:
                _log.warning("refused a request: %s", error.code)
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), str(scope["path"])
        host = _host_name(headers.get("host", ""))
        if self._access.names and host not in self._access.names:
            known = ", ".join(sorted(self._access.names))
            raise ProblemError(Code.UNKNOWN_HOST, f"expected one of the names {known} as Host; see service.public_name")
        if self._digest is None:
            _check_origin(headers)
        elif path not in OPEN and not path.startswith(STATIC):
            self._check_token(headers, is_page=path in PAGES and scope["method"] in ("GET", "HEAD"))

    def _check_token(self, headers: Headers, *, is_page: bool) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else None
        if token is None and is_page and scheme.lower() == "basic":
            token = _password(given)
        if token is not None and self._digest is not None and hmac.compare_digest(_digest(token), self._digest):
            return
        challenge = 'Basic realm="attendance", charset="UTF-8"' if is_page else 'Bearer realm="attendance"'
        what = "a wrong token" if token is not None else "none"
        raise ProblemError(
            Code.UNAUTHORIZED,
            f"expected the header Authorization: Bearer TOKEN, got {what}: the operator of the service has the token",
            headers={"WWW-Authenticate": challenge},
        )


def _digest(token: str) -> bytes:
    # Digests have one length, so that comparing them tells nothing of the token, its length included.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _password(given: str) -> str | None:
    try:
        text = base64.b64decode(given.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text.partition(":")[2]


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return ""
    return name if name is not None else ""


def _check_origin(headers: Headers) -> None:
    """Browsers tell where a page that asks came from; programs tell nothing."""
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != headers.get("host", "").lower():
        raise ProblemError(Code.CROSS_SITE, "expected a request from this service's own pages, got one from elsewhere")


def _netloc(address: str) -> str:
    """Host and port of an address, in small letters; empty where it is none."""
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""
