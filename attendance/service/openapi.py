"""The OpenAPI document: what FastAPI derives, with the errors and the forms that it cannot know of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from attendance import __version__
from attendance.service.problem import KINDS, MEDIA_TYPE, Code, type_of
from attendance.service.schemas import Problem

_ABOUT = """\
Compares faces on photos. Every error is `application/problem+json` (RFC 9457) with a `code` that stays.
Photos are worked on in memory and never kept. Similarities are cosines, higher is closer; distances are 0 for the same.
"""
ALWAYS = (Code.CROSS_SITE, Code.UNKNOWN_HOST, Code.INTERNAL)
"""What any route may answer."""

Responses = dict[int | str, dict[str, Any]]


def problems(*codes: Code) -> Responses:
    """The error answers of a route, by status, with an example for each code."""
    found: Responses = {}
    for code in (*codes, *ALWAYS):
        status, title = KINDS[code]
        entry = found.setdefault(
            status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][str(code)] = {"value": _example(code, status, title)}
        entry["description"] = "; ".join(part for part in (entry["description"], f"`{code}`: {title}") if part)
    return found


def _example(code: Code, status: int, title: str) -> dict[str, Any]:
    return {"type": type_of(code), "title": title, "status": status, "detail": f"{title}.", "code": str(code)}


def photo_form(photos: Mapping[str, str], texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The request body of a form: file fields with a sentence each, text fields with their schemas."""
    files = {name: {"type": "string", "format": "binary", "description": text} for name, text in photos.items()}
    schema = {"type": "object", "required": list(photos), "properties": {**files, **texts}}
    encoding = {name: {"contentType": "image/jpeg, image/png, image/webp, image/heic, image/*"} for name in photos}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def document(api: FastAPI, *, open_paths: Sequence[str], has_token: bool) -> dict[str, Any]:
    """The document; with ``has_token``, what is not among ``open_paths`` demands it."""
    made = get_openapi(title="Face attendance", version=__version__, description=_ABOUT, routes=api.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= definition.pop("$defs", {})
    schemas["Problem"] = definition
    _replace_framework_errors(made["paths"], schemas)
    if has_token:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, operations in made["paths"].items():
            if path in open_paths:
                continue
            for operation in operations.values():
                operation["security"] = [{"token": []}]
                operation["responses"] |= {str(k): v for k, v in problems(Code.UNAUTHORIZED).items() if k == 401}
    return made


def _replace_framework_errors(paths: Mapping[str, Any], schemas: dict[str, Any]) -> None:
    """FastAPI describes its own kind of 422, which no answer is: `on_invalid` makes it a problem."""
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            operation["responses"]["422"] = problems(Code.INVALID_REQUEST)[422]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
