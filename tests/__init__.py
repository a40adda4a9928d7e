"""What livelog promises, said in tests: one file per module."""
