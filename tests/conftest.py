"""Settings of all property tests, and the parts that are fetched once for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.follower import find_node_modules

# How long an example takes depends on the machine, not on us.
settings.register_profile("livelog", deadline=None)
settings.load_profile("livelog")


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Node finds a WebSocket."""
    return find_node_modules(tmp_path_factory.mktemp("node"))
