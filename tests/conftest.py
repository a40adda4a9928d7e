"""What holds for all tests: nothing is left in the directory they are started from, and property
tests have no deadline, because how long an example takes depends on the machine, not on us.
"""

import os

from hypothesis import settings

from tests.process import start as start

settings.register_profile("livelog", deadline=None)
settings.load_profile("livelog")

# For the servers that tests start as processes; a test of the store names its own file.
os.environ["LIVELOG_STORE"] = "memory"
