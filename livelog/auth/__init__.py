"""How somebody proves who they are: tokens and API keys, and where the keys to them come from.

What is pure stands low: `credentials` (where they are found), `tokens` (JWT), `apikeys` (their form
and hash). What reaches out stands above it: `keyfile` (a file), `provider` (HTTP), `jwks` and
`introspection`. `authenticator` puts together what is configured; the doors see only that.
"""
