"""Parts that tests share: a wire-level client, servers, programs to talk to, strategies, files."""
