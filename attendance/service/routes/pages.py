"""What a browser is shown: the welcome page, Swagger UI over the OpenAPI document, and the files of both.

Everything comes from this machine. Swagger UI's files are those that the package fastapi-offline ships; it is located
and never imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from attendance import __version__
from attendance.errors import UsageError
from attendance.service.openapi import problems
from attendance.service.problem import Code, ProblemError

_HERE = Path(__file__).resolve().parent.parent
_SWAGGER = "fastapi_offline"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def pages_router(*, has_token: bool, document: Callable[[], dict[str, Any]]) -> APIRouter:
    """The pages; ``document`` gives the OpenAPI document when it is asked for."""
    router = APIRouter(tags=["pages"])
    pages, files = page_templates(), static_files()

    @router.get("/", summary="Welcome page", response_class=HTMLResponse, responses=problems())
    async def welcome() -> HTMLResponse:
        """What there is, and a form to compare two photos. Needs no token, the comparison does."""
        page = pages.get_template("welcome.html")
        return HTMLResponse(page.render(version=__version__, has_token=has_token))

    @router.get("/docs", summary="This document, to try out", response_class=HTMLResponse, responses=problems())
    async def docs() -> HTMLResponse:
        """Swagger UI, served from here."""
        return HTMLResponse(pages.get_template("docs.html").render())

    @router.get("/openapi.json", summary="This document", response_class=JSONResponse, responses=problems())
    async def openapi() -> JSONResponse:
        """The OpenAPI document of the service."""
        return JSONResponse(document())

    @router.get(
        "/static/{name}",
        summary="A file of the pages",
        response_class=FileResponse,
        responses=problems(Code.NOT_FOUND),
    )
    async def static(name: str) -> FileResponse:
        """Style sheets and scripts. Needs no token."""
        path = files.get(name)
        if path is None:
            raise ProblemError(Code.NOT_FOUND, "there is no such file")
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})

    return router


def page_templates() -> Environment:
    """The pages' templates; what is put into them is escaped."""
    return Environment(loader=FileSystemLoader(_HERE / "pages"), autoescape=True, undefined=StrictUndefined)


def static_files() -> Mapping[str, Path]:
    """Every file that pages may ask for, by name. UsageError where Swagger UI's are missing."""
    own = {path.name: path for path in (_HERE / "static").iterdir() if path.suffix in _TYPES}
    return {**own, **{name: _swagger(name) for name in ("swagger-ui-bundle.js", "swagger-ui.css")}}


def _swagger(name: str) -> Path:
    spec = importlib.util.find_spec(_SWAGGER)
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0]) / "static" / name if folders else None
    if path is None or not path.is_file():
        raise UsageError(f"expected the package fastapi-offline with {name}, which /docs shows: run make setup")
    return path
