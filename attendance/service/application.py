"""The service as one ASGI application over an `App`.

From the outside in: `Observe` (count, log, headers), `Guard` (who may ask), `Limits` (how much, how long), the routes.
A later resource adds a router under ``routes/`` and a line in `_add_routes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from attendance import __version__
from attendance.app import App
from attendance.service.limits import MEGABYTE, Limits
from attendance.service.observe import Observe
from attendance.service.openapi import document
from attendance.service.problem import ProblemError, on_http_error, on_invalid, on_problem
from attendance.service.readiness import Readiness, looks_at
from attendance.service.routes.health import health_router
from attendance.service.routes.pages import pages_router
from attendance.service.routes.verification import verification_router
from attendance.service.security import OPEN, STATIC, Access, Guard
from attendance.service.vision import Vision

_LOCAL = Access()


class Service:
    """What the routes share: the app's objects, the networks' thread, the looks at the stores."""

    def __init__(self, app: App, access: Access) -> None:
        self.app = app
        self.access = access
        self.vision = Vision(max_waiting=app.settings.service.max_waiting)
        self.readiness = Readiness(looks_at(app, is_loaded=lambda: self.is_loaded))
        self.is_loaded = False

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Load the model before the first request, and let what has begun end after the last."""
        await self.vision.run(self._warm_up)
        self.is_loaded = True
        try:
            yield
        finally:
            self.is_loaded = False
            self.readiness.close()
            self.vision.close()

    def _warm_up(self) -> None:
        # The first picture takes longer than all others: better now than when somebody waits.
        self.app.warm_up()


def create_app(app: App, *, access: Access = _LOCAL) -> FastAPI:
    """The application; ``app`` stays the caller's, who closes it afterwards.

    ``access`` says who may ask; without it, whoever reaches loopback. The model is loaded when the application starts.
    """
    service = Service(app, access)
    api = FastAPI(
        title="Face attendance",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=service.lifespan,
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: on_http_error,
            RequestValidationError: on_invalid,
        },
    )
    _add_routes(api, service)
    section = app.settings.service
    # The last one added is the first that a request meets.
    api.add_middleware(Limits, max_bytes=int(section.max_upload_mb * MEGABYTE), timeout_s=section.request_timeout_s)
    api.add_middleware(Guard, access=access)
    api.add_middleware(Observe, telemetry=app.telemetry)
    return api


def _add_routes(api: FastAPI, service: Service) -> None:
    has_token = service.access.token is not None

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = document(api, open_paths=[*OPEN, f"{STATIC}{{name}}"], has_token=has_token)
        return api.openapi_schema

    api.openapi = described  # type: ignore[method-assign]
    api.include_router(verification_router(service.app, service.vision))
    api.include_router(health_router(service.readiness, service.app.telemetry))
    api.include_router(pages_router(has_token=has_token, document=described))
