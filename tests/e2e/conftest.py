"""One stack for all tests that do not harm it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import RunningStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with RunningStack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def private_stack(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack that the test may harm."""
    with RunningStack(tmp_path / "data") as running:
        yield running
