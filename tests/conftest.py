"""Settings of all property tests: how long an example takes depends on the machine, not on us."""

from hypothesis import settings

settings.register_profile("livelog", deadline=None)
settings.load_profile("livelog")
