"""`python -m livelog`, which is also the command `livelog`."""

import gc
import sys
from typing import NoReturn

from livelog.cli import main


def run() -> NoReturn:
    """Run the command line, and end the process."""
    try:
        sys.exit(main())
    finally:
        # The end walks through all modules several times, and frees what goes with the process.
        gc.freeze()


if __name__ == "__main__":
    run()
