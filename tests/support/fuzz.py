"""`python -m tests.support.fuzz TARGET FOLDER [libFuzzer options]`: look for bytes that break it.

Needs the package atheris. The search begins with what is kept in `corpus/` and with what stands in
the folder, and adds to it; what breaks the target is written to `crash-…`.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import atheris  # who fuzzes installs it

with atheris.instrument_imports(include=["livelog", "websockets", "tests"]):
    from tests.support.fuzz_targets import House, targets


def main(target: str, folder: str, *options: str) -> None:
    """Search until interrupted, or as long as the options say."""
    kept = (Path(__file__).parents[1] / "corpus" / f"{target}.txt").read_bytes().splitlines()
    Path(folder).mkdir(exist_ok=True)
    for number, line in enumerate(kept):
        Path(folder, f"kept-{number}").write_bytes(base64.b64decode(line))
    atheris.Setup([sys.argv[0], folder, *options], targets(House())[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
