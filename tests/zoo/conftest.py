"""A server that can fail, for each test its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.zoo.site import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as served:
        yield served
