"""Log lines: their form, and the secrets that never stand in one."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from attendance.logs import JsonFormatter, LogFormat, TextFormatter, configure, masked

SECRETS = (
    "mongodb://kiosk:s3cr@t/x@db:27017/attendance",
    "rtsp://admin:s3cr@10.0.0.5/stream",
    "Authorization: Bearer s3cr.t-o_k=",
    "token=s3cr&x=1",
    "authorization=basic s3crs3cr",
    "'password': 's3cr'",
    "ATTENDANCE_BACKUP__PASSPHRASE=s3cr",
    "key AGE-SECRET-KEY-1S3CRS3CR",
)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


def logged(form: logging.Formatter, *message: object, **more: object) -> str:
    """What a logger of its own writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form)
    logger = logging.Logger("attendance.test")  # noqa: LOG001 - one that nobody else has
    logger.addHandler(handler)
    logger.warning(*message, **more)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize("form", [TextFormatter(), JsonFormatter()])
def test_no_secret_is_logged(text: str, form: logging.Formatter) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        line = logged(form, "it failed: %s", text, exc_info=True, extra={"where": text})
    assert "s3cr" not in line.lower()
    assert "***" in line
    assert "it failed" in line


def test_what_is_no_secret_stays() -> None:
    for text in (
        "http://10.0.0.5/stream",
        "a@b",
        "basic training",
        "the token: give one",
        "12 tokens: fine",
        "token",
        "/tokens/list",
        "secrets/backup.key",
    ):
        assert masked(text) == text


def test_json_is_one_object_a_line() -> None:
    line = logged(JsonFormatter(), 'two\nlines, "quoted" é, %d', 3, extra={"camera": "door", "seconds": 1.5})
    assert line.count("\n") == 1
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {
        "level": "warning",
        "logger": "attendance.test",
        "message": 'two\nlines, "quoted" é, 3',
        "fields": {"camera": "door", "seconds": 1.5},
    }


def test_a_message_cannot_forge_a_line() -> None:
    assert logged(TextFormatter(), "photo %s", "a.png\nERROR root: b") == (
        "WARNING attendance.test: photo a.png\\nERROR root: b\n"
    )


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("lines")
def test_uvicorn_logs_here_and_without_queries(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    path = "/punches?person=person-01"
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", path, "1.1", 200)
    logging.getLogger("attendance.test").debug("not shown")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "person-01" not in err
    assert "/punches HTTP/1.1" in err.replace('\\"', '"')
