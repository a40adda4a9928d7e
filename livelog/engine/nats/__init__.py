"""The engine of many nodes: the order of the log is that of a JetStream stream.

One batch of messages is one message of the stream, and a seq follows from its place there alone, so
every node gives the same seqs, drops the same repetitions and delivers in the same order, without
a word to the others. `README.md` says how to run it.

Pure, without I/O: `batch` (the look of a batch and a control record), `places` (places and seqs),
`order` (who gets which, and repeated ids), `repeats` (the ids of the last quarter of an hour),
`arrivals` (what came live, until it is next), `outbox` (what is to be published), `gossip` (what
nodes say of themselves), `settings` (those of the stream). `stream` is what the engine asks of a
broker, `jetstream` asks it of NATS on the connection of `broker`; `follower` takes what is there,
`herald` tells others and the log, and `engine` puts all of it behind the seam. For operators there
are `operator`, `status`, `heal` and `adopt`.

Needs the extra `nats`; nothing outside of this package imports it unless `--engine` is given.
"""
