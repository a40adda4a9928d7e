"""Options of authentication, and of the limits of those who may."""

from typing import Annotated

from msgspec import Struct

from livelog.config.check import SECONDS, option


class Auth(Struct, frozen=True, kw_only=True):
    """Authentication. An option that is given must not be empty.

    A variable without a value must not open the server to everyone.
    """

    jwt_secret: Annotated[
        str,
        option(
            "Secret of JSON Web Tokens signed with HS256, 32 bytes or more.",
            "TEXT",
            filled=True,
            secret=True,
        ),
    ] = ""
    jwt_public_key: Annotated[
        str,
        option(
            "PEM public key of JSON Web Tokens signed with RS256, ES256 or EdDSA.",
            "FILE",
            filled=True,
        ),
    ] = ""
    jwks_url: Annotated[
        str,
        option("Address of the JWKS with the public keys of JSON Web Tokens.", "URL", filled=True),
    ] = ""
    jwks_max_age: Annotated[
        float,
        option(
            "Time cached JWKS keys stay valid while the provider is unreachable.",
            "SECONDS",
            ge=60,
            le=10_000_000,
        ),
    ] = 86_400
    jwt_issuer: Annotated[
        str, option("The iss claim that a token must have.", "TEXT", filled=True)
    ] = ""
    jwt_audience: Annotated[
        str, option("The aud claim that a token must have.", "TEXT", filled=True)
    ] = ""
    jwt_leeway: Annotated[
        float,
        option(
            "Tolerated difference between the token issuer's clock and the server's.",
            "SECONDS",
            ge=0,
            le=600,
        ),
    ] = 30
    oauth_issuer: Annotated[
        str,
        option(
            "OAuth2 or OpenID Connect issuer, whose metadata names its JWKS.", "URL", filled=True
        ),
    ] = ""
    introspection_url: Annotated[
        str,
        option("Introspection endpoint for opaque tokens (RFC 7662).", "URL", filled=True),
    ] = ""
    introspection_client_id: Annotated[
        str,
        option(
            "Client id for the introspection endpoint; with --oauth-issuer its metadata names the"
            " endpoint.",
            "TEXT",
            filled=True,
        ),
    ] = ""
    introspection_client_secret: Annotated[
        str,
        option("Client secret for the introspection endpoint.", "TEXT", filled=True, secret=True),
    ] = ""
    viewer_client_id: Annotated[
        str,
        option(
            "Client id under which the viewer's page signs its readers in at --oauth-issuer, with"
            " PKCE and without a secret.",
            "TEXT",
            filled=True,
        ),
    ] = ""
    viewer_scopes: Annotated[
        str,
        option(
            "Scopes, with spaces between them, that the viewer's page asks --oauth-issuer for.",
            "SCOPES",
            pattern=r"^[!#-\[\]-~]+( [!#-\[\]-~]+)*$",  # RFC 6749 section 3.3
        ),
    ] = "openid read publish"
    viewer_audience: Annotated[
        str,
        option(
            "Value of `audience` that the viewer's page names to --oauth-issuer; Auth0 gives a JSON"
            " Web Token only for one.",
            "TEXT",
            filled=True,
        ),
    ] = ""
    viewer_resource: Annotated[
        str,
        option(
            "Value of `resource` (RFC 8707) that the viewer's page names to --oauth-issuer: the"
            " absolute URI of what the token is for.",
            "URI",
            pattern=r"^([A-Za-z][A-Za-z0-9+.-]*:[^\s#]+)?$",
        ),
    ] = ""
    api_keys: Annotated[
        str, option("File of API keys, made by `livelog keys`.", "FILE", filled=True)
    ] = ""
    announce_presence: Annotated[
        bool,
        option(
            "Publish user_joined and user_left when users connect and disconnect; of the servers"
            " that share a log one does."
        ),
    ] = False
    auth_timeout: Annotated[
        float, option("Time a client has to authenticate.", "SECONDS", **SECONDS)
    ] = 5


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of connections, users and addresses."""

    enforced: Annotated[bool, option("Enforce the limits.", name="limits")] = True
    message_limit: Annotated[
        int, option("Frames a connection may send per --limit-window.", "N", ge=1)
    ] = 100
    command_limit: Annotated[
        int,
        option(
            "Commands a connection may send per --limit-window; publish and ping are not counted.",
            "N",
            ge=1,
        ),
    ] = 10
    limit_window: Annotated[
        float, option("Length of the window over which limits count.", "SECONDS", **SECONDS)
    ] = 60
    connections_per_ip: Annotated[int, option("Open WebSockets per client address.", "N", ge=1)] = (
        1000
    )
    waiting_per_ip: Annotated[
        int, option("Connections per client address that are not yet upgraded.", "N", ge=1)
    ] = 1000
    waiting_connections: Annotated[
        int,
        option(
            "Maximum of connections not yet upgraded; the least recently active is closed.",
            "N",
            ge=1,
        ),
    ] = 10_000
    user_message_limit: Annotated[
        int,
        option("Messages an authenticated user may send per --limit-window.", "N", ge=1),
    ] = 1000
    user_command_limit: Annotated[
        int,
        option(
            "Commands and queries an authenticated user may send per --limit-window.", "N", ge=1
        ),
    ] = 100
    # High, because a thousand users may share an address: what its thousand connections may ask
    # for together, and more messages than they may send, for those that are published over HTTP.
    address_message_limit: Annotated[
        int, option("Messages a client address may send per --limit-window.", "N", ge=1)
    ] = 600_000
    address_command_limit: Annotated[
        int,
        option("Commands and queries a client address may send per --limit-window.", "N", ge=1),
    ] = 10_000
    block_after: Annotated[
        int,
        option("Failures per --limit-window after which a client address is blocked.", "N", ge=1),
    ] = 100
    block_seconds: Annotated[
        float, option("Time a client address stays blocked.", "SECONDS", **SECONDS)
    ] = 300
