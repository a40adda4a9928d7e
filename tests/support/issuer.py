"""A small OAuth2 issuer for browsers: an authorization server with PKCE, on a port of this machine.

It is strict where a real one is: codes and refresh tokens are good for one use, a code needs its
verifier, client and address must be registered, and a client that comes with a secret is refused.
What it says is an attribute, so a test can let it refuse, lie, or be away.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.identity import RSA_KEY, jwk, token

Json = dict[str, Any]
Form = dict[str, str]


class Issuer:
    """An issuer of tokens."""

    def __init__(self) -> None:
        self.redirects: set[str] = set()
        """The registered addresses to answer to."""
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.reset()

    def reset(self) -> None:
        """Be as new, at the same place and for the same addresses."""
        self.client_id = "viewer"
        self.target: Form = {}
        """Parameters without which it gives no token, as Auth0 does for one of its APIs."""
        self.metadata: Json = {}
        """What its metadata has besides the usual; None leaves one out."""
        self.answer: Form = {}
        """Replaces parts of the answer to the page; an empty text leaves one out."""
        self.user = "ann"
        self.scope = "read publish"
        self.lifetime = 3600.0
        self.claims: Json = {}
        self.refreshes = True
        """Refresh tokens are given."""
        self.cors = True
        self.status = 200
        """Of the token endpoint; another one comes without a body."""
        self.asked: list[Form] = []
        """The requests to authorize."""
        self.forms: list[Form] = []
        """The requests for tokens that were granted."""
        self.ended: list[Form] = []
        """The requests to sign out."""
        self.faults: list[str] = []
        """What a client did wrong."""
        self.codes: dict[str, Form] = {}
        self.refresh_tokens: set[str] = set()

    @property
    def url(self) -> str:
        """Its name, and where it is."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Be there, at the same place as before if there was one."""
        handler = type("Handler", (_Handler,), {"issuer": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()

    def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # Answers: a status, headers and a body each.

    def document(self) -> Json:
        """The metadata."""
        endpoints = ("authorization", "token", "end_session")
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            **{f"{name}_endpoint": f"{self.url}/{name}" for name in endpoints},
            "code_challenge_methods_supported": ["S256"],
            **self.metadata,
        }
        return {name: value for name, value in document.items() if value is not None}

    def authorize(self, asked: Form) -> tuple[int, str]:
        """Let the user in without a question; return the status, and where to go."""
        self.asked.append(asked)
        redirect = asked.get("redirect_uri", "")
        expected = {"response_type": "code", "client_id": self.client_id}
        if redirect not in self.redirects or not expected.items() <= asked.items():
            return 400, ""
        if asked.get("code_challenge_method") != "S256":
            self.faults.append("the challenge is not S256")
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = {"code": code, "state": asked.get("state", ""), "iss": self.url, **self.answer}
        if not self.target.items() <= asked.items():
            answer |= {"error": "invalid_target"}
        given = {name: value for name, value in answer.items() if value}
        return 302, f"{redirect}?{urlencode(given)}"

    def grant(self, form: Form) -> tuple[int, Json]:
        """Return the status and the answer of the token endpoint."""
        if "client_secret" in form or form.get("client_id") != self.client_id:
            return 401, {"error": "invalid_client"}
        if not self.target.items() <= form.items():
            return 400, {"error": "invalid_target"}
        grants = {"authorization_code": self._is_code, "refresh_token": self._is_refresh_token}
        if not grants[form["grant_type"]](form):
            return 400, {"error": "invalid_grant", "error_description": "<b>gone</b>"}
        self.forms.append(form)
        return 200, self._tokens()

    def _is_code(self, form: Form) -> bool:
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return asked is not None and (asked["code_challenge"], asked["redirect_uri"]) == (
            challenge,
            form["redirect_uri"],
        )

    def _is_refresh_token(self, form: Form) -> bool:
        if form["refresh_token"] not in self.refresh_tokens:
            return False
        self.refresh_tokens.remove(form["refresh_token"])
        return True

    def _tokens(self) -> Json:
        said: Json = {"iss": self.url, **self.claims}
        access = token(
            self.user, self.scope, lasts=self.lifetime, algorithm="RS256", kid="one", **said
        )
        answer: Json = {"access_token": access, "token_type": "Bearer", "id_token": f"id.{access}"}
        answer["expires_in"] = self.lifetime
        if self.refreshes:
            answer["refresh_token"] = secrets.token_urlsafe()
            self.refresh_tokens.add(answer["refresh_token"])
        return answer


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        """Answer all but requests for tokens."""
        path, asked = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        if path == "/authorization":
            status, place = self.issuer.authorize(asked)
            self._send(status, {}, location=place)
        elif path == "/end_session":
            self.issuer.ended.append(asked)
            self._send(302, {}, location=asked["post_logout_redirect_uri"])
        elif path == "/keys":
            self._send(200, {"keys": [jwk(RSA_KEY, "one")]})
        elif path == "/.well-known/openid-configuration":
            self._send(200, self.issuer.document())
        else:
            self._send(405 if path == "/token" else 404, {})

    def do_POST(self) -> None:
        """Answer a request for tokens."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Authorization"] or self.headers["Cookie"]:
            self.issuer.faults.append("a secret or a cookie came with a request for tokens")
        if self.issuer.status != 200:
            self._send(self.issuer.status, {})
        else:
            self._send(*self.issuer.grant(dict(parse_qsl(body))))

    def do_OPTIONS(self) -> None:
        """Note that the page has sent more than a simple request."""
        self.issuer.faults.append("a preflight was needed")
        self._send(405, {})

    def _send(self, status: int, answer: Json, location: str = "") -> None:
        body = json.dumps(answer).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if location:
            headers["Location"] = location
        if self.issuer.cors and urlsplit(self.path).path == "/token":
            headers["Access-Control-Allow-Origin"] = self.headers["Origin"] or "*"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that is there."""
    made = Issuer()
    made.start()
    try:
        yield made
    finally:
        made.stop()
