"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever watches over the service."""

from __future__ import annotations

from fastapi import APIRouter, Response

from attendance.service.openapi import problems
from attendance.service.readiness import Check, Readiness
from attendance.service.schemas import Alive, Ready
from attendance.telemetry import CONTENT_TYPE, Telemetry


def health_router(readiness: Readiness, telemetry: Telemetry) -> APIRouter:
    """The routes of those who watch."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Does the process live?", responses=problems())
    async def healthz() -> Alive:
        """Answers as long as the process does: if not, start it anew. Needs no token."""
        return Alive(status="alive")

    @router.get(
        "/readyz",
        summary="Can it do its work?",
        responses={**problems(), 503: {"model": Ready, "description": "A check has failed; the log says why."}},
    )
    async def readyz(response: Response) -> Ready:
        """Looks at the model and at the stores that are configured; 503 when one fails. Needs no token."""
        checks = await readiness.checks()
        has_failed = Check.FAILED in checks.values()
        response.status_code = 503 if has_failed else 200
        return Ready.model_validate({"status": "not_ready" if has_failed else "ready", "checks": checks})

    @router.get(
        "/metrics",
        summary="Counts and times for Prometheus",
        response_class=Response,
        responses={**problems(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Prometheus' text format; names nobody."""
        return Response(telemetry.exposition(), media_type=CONTENT_TYPE)

    return router
