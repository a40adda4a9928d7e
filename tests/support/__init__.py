"""What tests share: a wire-level client, servers and programs to talk to, strategies, files."""
