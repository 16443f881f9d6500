"""What every test folder shares: the outside data, and the list of what was skipped."""

from pathlib import Path

import pytest

from tools.skip_gate import pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure", "shared_data"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of outside data beside the checkout; a test that asks for it is skipped where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("outside data: no folder ../shared beside the checkout")
    return folder
