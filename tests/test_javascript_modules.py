"""Parts of the JavaScript client and of the viewer: `test_javascript_*.mjs`, run by Node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.follower import NODE

pytestmark = pytest.mark.node

TESTS = sorted(Path(__file__).parent.glob("test_javascript_*.mjs"))


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.stem)
def test_the_modules_do_what_they_say(tests: Path) -> None:
    assert NODE is not None
    command = [NODE, "--test", "--test-reporter=tap", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "\n# fail 0\n" in done.stdout
    assert "\n# pass 0\n" not in done.stdout
