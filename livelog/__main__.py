"""`python -m livelog`."""

import sys

from livelog.cli import main

sys.exit(main())
