"""Signing in to the viewer at the issuer: what the page has to know for it.

The page does the rest itself: the authorization code flow (RFC 6749 section 4.1) of a public client
with PKCE (RFC 7636). So there is no secret here, and everybody may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from livelog.config import Config, flag
from livelog.config.check import normal_origin
from livelog.errors import ConfigError

_REQUIRED = ("authorization_endpoint", "token_endpoint")
ENDPOINTS = (*_REQUIRED, "end_session_endpoint")
"""Names in the issuer's metadata (RFC 8414; OpenID Connect RP-Initiated Logout 1.0)."""
_REFINEMENTS = ("viewer_scopes", "viewer_audience", "viewer_resource")
"""Settings of the page's client."""


class SignIn(Struct, frozen=True):
    """The client that the page is at the issuer, and the issuer's endpoints."""

    issuer: str
    client_id: str
    scopes: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str = ""
    names_issuer: bool = False
    """The issuer names itself in every answer (RFC 9207), so that one without is not its own."""
    target: dict[str, str] = {}
    """Parameters that say what the token is for; they go with each request."""

    @property
    def origin(self) -> str:
        """The origin of the token endpoint, which the page asks; raises `ValueError`."""
        return _origin_of(self.token_endpoint)


def _origin_of(url: str) -> str:
    """Return the origin of a URL; raises `ValueError`."""
    parts = urlsplit(url)
    return normal_origin(f"{parts.scheme}://{parts.netloc}")


def check(config: Config) -> None:
    """Check that the settings of the page's client have an effect. Raises `ConfigError`."""
    auth = config.auth
    if auth.viewer_client_id and not auth.oauth_issuer:
        raise ConfigError("--viewer-client-id: needs --oauth-issuer")
    for name in _REFINEMENTS:
        if name in config.given and not auth.viewer_client_id:
            raise ConfigError(f"{flag(name)}: needs --viewer-client-id")


def sign_in(config: Config, metadata: Mapping[str, Any]) -> SignIn:
    """Return how to sign in at the issuer with this metadata. Raises `ValueError`."""
    for name in _REQUIRED:
        if name not in metadata:
            raise ValueError(f"the issuer's metadata has no {name}")
    methods = metadata.get("code_challenge_methods_supported", ["S256"])  # many do not tell
    if not isinstance(methods, list) or "S256" not in methods:
        raise ValueError("the issuer does not offer the code challenge method S256 (RFC 7636)")
    _origin_of(metadata["token_endpoint"])  # the page's policy has to name it
    auth = config.auth
    target = {"audience": auth.viewer_audience, "resource": auth.viewer_resource}
    return SignIn(
        issuer=auth.oauth_issuer,
        client_id=auth.viewer_client_id,
        scopes=auth.viewer_scopes,
        target={name: value for name, value in target.items() if value},
        names_issuer=metadata.get("authorization_response_iss_parameter_supported") is True,
        **{name: metadata[name] for name in ENDPOINTS if name in metadata},
    )
