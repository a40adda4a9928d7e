"""The promises of livelog as tests: one file per module."""
