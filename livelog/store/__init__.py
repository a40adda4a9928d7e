"""Messages beyond the window: `sqlite` keeps them in a file, `memory` keeps none."""
