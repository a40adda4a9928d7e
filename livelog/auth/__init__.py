"""Authentication: credentials go in, a principal comes out.

Pure modules stand low: `credentials` (where a request carries them), `tokens` (JWT), `apikeys`
(form and hash), `elapsed` (durations). Modules with I/O stand above: `keyfile` (a file), `provider`
(HTTP), `jwks` and `introspection`. `authenticator` combines the configured checks; the doors use
nothing else.
"""
