"""`python -m tests.fuzz TARGET CORPUS [options of libFuzzer]`: look for bytes that break a target.

Needs the package atheris. What is found stands in `crash-…`; a corpus is made small again with
`-merge=1 SMALL CORPUS`.
"""

from __future__ import annotations

import sys

import atheris  # who fuzzes installs it

with atheris.instrument_imports(include=["livelog", "websockets", "tests"]):
    from tests.fuzz_targets import House, targets

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], targets(House())[sys.argv[1]])
    atheris.Fuzz()
