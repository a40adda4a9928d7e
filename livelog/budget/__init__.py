"""How work on the loop is sliced, how memory is counted, and whom both are shared out to."""
