"""Rules for all tests: nothing is left in the directory they are started from, property tests
have no deadline, because how long an example takes depends on the machine, not on us, and what has
to be fetched is fetched once.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from livelog.log import log
from livelog.store.reader import client
from tests.support.browser import browser as browser
from tests.support.browser import guarded as guarded
from tests.support.browser import host as host
from tests.support.browser import look as look
from tests.support.browser import profile as profile
from tests.support.follower import find_node_modules, npm_install
from tests.support.keeping import each_kind as each_kind
from tests.support.keeping import no_idle_look as no_idle_look
from tests.support.keeping import no_reader_left as no_reader_left
from tests.support.keeping import quick_retries as quick_retries
from tests.support.keeping import quick_trims as quick_trims
from tests.support.operating import quick_words as quick_words
from tests.support.process import start as start

settings.register_profile("livelog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("checks", settings.get_profile("livelog"), max_examples=15)
# Before a change lands there are twenty minutes for all tests; by hand there is time for more.
settings.load_profile("checks" if os.environ.get("CI") else "livelog")

# A shell starts a command in the background with SIGINT ignored, and its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine under load may not run a process for seconds. Tests of that set these themselves.
client._SILENT_BEATS, client._SILENT_AT_START_BEATS = 10, 30
client.DEADLINE_SECONDS = log._STORE_ASKED = 30

# For the servers that tests start as processes; a test of the store names its own file.
os.environ["LIVELOG_STORE"] = "memory"


_LONGEST = (
    *("test_planner", "test_reader", "test_viewer", "test_store", "test_privacy", "test_segments"),
    *("test_viewer_touch", "test_viewer_panes", "test_viewer_list"),
    *("test_viewer_axe", "test_reader_client", "test_index", "test_cli_engine", "test_logs"),
    *("test_encryption", "test_place", "test_short_of_memory", "test_cli_tail", "test_database"),
    *("test_truncated_pages", "test_window", "test_retention", "test_client_credentials"),
    *("test_docs", "test_viewer_signin", "test_viewer_moderation", "test_viewer_moderation_axe"),
    *("test_viewer_presence", "test_analysis", "test_nats_acts"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left alone at the end."""
    rank = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Node finds a WebSocket."""
    return find_node_modules(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="session")
def tsc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript compiler."""
    return npm_install(tmp_path_factory.mktemp("tsc"), "typescript") / "node_modules/.bin/tsc"
