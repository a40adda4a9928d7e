"""Single modules of the JavaScript client: `test_javascript_modules.mjs`, run by Node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.follower import NODE

TESTS = Path(__file__).with_suffix(".mjs")


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_the_modules_do_what_they_say() -> None:
    assert NODE is not None
    command = [NODE, "--test", "--test-reporter=tap", str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "\n# fail 0\n" in done.stdout
    assert "\n# pass 0\n" not in done.stdout
