"""``POST /verify``: do two photos show one person?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request

from attendance.app import App
from attendance.faces import FaceRule
from attendance.service.openapi import photo_form, problems
from attendance.service.problem import Code, ProblemError
from attendance.service.schemas import Metric, Verification
from attendance.service.uploads import PhotoForm, read_photo_form
from attendance.service.vision import Vision
from attendance.stills import Reading
from attendance.threshold import VERIFY_FAR
from attendance.types import Float32, RefusalReason

PHOTOS = ("image1", "image2")

_CODES = {
    RefusalReason.NO_FACE: Code.NO_FACE,
    RefusalReason.SEVERAL_FACES: Code.SEVERAL_FACES,
    RefusalReason.TOO_LARGE: Code.IMAGE_TOO_LARGE,
}
_METRIC = {"type": "string", "enum": [str(metric) for metric in Metric], "default": "cosine"}
_FORM = photo_form(
    dict.fromkeys(PHOTOS, "A photo with one face: JPEG, PNG, WebP, HEIC, TIFF, BMP or GIF."),
    {"metric": {**_METRIC, "description": "The metric of distance and threshold."}},
)
_QUERY = {"name": "metric", "in": "query", "description": "As the form's field of this name.", "schema": _METRIC}
_ERRORS = problems(
    Code.NO_FACE,
    Code.SEVERAL_FACES,
    Code.BROKEN_IMAGE,
    Code.IMAGE_TOO_LARGE,
    Code.MISSING_IMAGE,
    Code.UNKNOWN_METRIC,
    Code.INVALID_REQUEST,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.TIMEOUT,
    Code.OVERLOADED,
)


def verification_router(app: App, vision: Vision) -> APIRouter:
    """The routes that compare photos; they need no store."""
    router = APIRouter(tags=["photos"])

    @router.post(
        "/verify",
        summary="Compare two photos",
        responses=_ERRORS,
        openapi_extra={"parameters": [_QUERY], "requestBody": _FORM},
    )
    async def verify(request: Request) -> Verification:
        """Whether two photos show one person, at the model's threshold for a false-accept rate of 0.001.

        The largest face of each photo counts; a second one with 60 % of its area or more makes the photo ambiguous and
        is refused. Photos are turned as their EXIF says. The result is that of `python -m attendance verify`.
        """
        with vision.place():
            form = await read_photo_form(request, photos=PHOTOS, texts=("metric",))
            metric = _metric_of([*request.query_params.getlist("metric"), *form.texts.get("metric", [])])
            return await vision.run(partial(_verify, app, form, metric))

    return router


def _metric_of(asked: Sequence[str]) -> Metric:
    """The metric that query and form name, which must be the same."""
    if len(set(asked)) > 1:
        raise ProblemError(Code.INVALID_REQUEST, "expected one metric in query and form together, got different ones")
    try:
        return Metric(asked[0]) if asked else Metric.COSINE
    except ValueError as error:
        known = ", ".join(Metric)
        raise ProblemError(Code.UNKNOWN_METRIC, f"expected as metric one of {known}, got {asked[0][:40]!r}") from error


def _verify(app: App, form: PhotoForm, metric: Metric) -> Verification:
    # Enrolment's rule for several faces, and nobody's for quality: two photos may be compared however bad they are.
    reader = app.stills(rule=FaceRule.LARGEST, strict=True, quality_level="off")
    first, second = (_vector(reader.read_bytes(form.photos[name], name), name) for name in PHOTOS)
    similarity = min(max(float(first @ second), -1.0), 1.0)
    threshold = app.rulebook.verify_threshold()
    return Verification(
        match=similarity >= threshold,
        distance=round(_distance(similarity, metric), 6),
        threshold=round(_distance(threshold, metric), 6),
        metric=metric,
        similarity=round(similarity, 6),
        far=VERIFY_FAR,
        model=app.card.id,
    )


def _vector(reading: Reading, name: str) -> Float32:
    if reading.vector is not None:
        return reading.vector
    assert reading.reason is not None
    code = _CODES.get(reading.reason, Code.BROKEN_IMAGE)
    raise ProblemError(code, f"{name}: {reading.detail}", image=name, reason=str(reading.reason))


def _distance(similarity: float, metric: Metric) -> float:
    """The distance of two unit vectors: 1 - cosine, or the length of their difference, sqrt(2 - 2 cosine)."""
    if metric is Metric.COSINE:
        return 1.0 - similarity
    return math.sqrt(max(2.0 - 2.0 * similarity, 0.0))
