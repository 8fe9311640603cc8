"""Fixtures of the tests of the download."""

from pathlib import Path

import pytest
from tenacity import wait_none

from inat.data.download import http
from tests.data.site import serving


@pytest.fixture
def site(quick):
    with serving() as server:
        yield server


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(http, "WAIT", wait_none())
    monkeypatch.setattr(http, "CHUNK", 1000)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def to(tmp_path, quick) -> Path:
    return tmp_path / "disk" / "photos"
