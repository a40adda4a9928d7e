"""Who gives messages their place in the log: `local` for one process."""
