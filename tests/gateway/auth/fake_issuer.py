"""A small OpenID Connect issuer on a real port: discovery, keys, codes, PKCE."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

CLIENT = "client-1"
SECRET = "client-secret-of-the-test"


class FakeIssuer:
    """Says of everybody what `claims` says; `forge` may change a token before it is signed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self.signs_with = self.key
        self.claims: dict[str, Any] = {}
        self.forged: dict[str, Any] = {}
        self.asked: dict[str, dict[str, str]] = {}

    def approve(self, location: str) -> str:
        """The person says yes; the way back to the gateway."""
        asked = {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_urlsafe()
        self.asked[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/keys", self.keys),
            Route("/token", self.token, methods=["POST"]),
        ]

    async def discovery(self, _: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def keys(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def token(self, request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode())
        asked = self.asked.pop(form["code"][0], None)
        if asked is None or challenge_of(form["code_verifier"][0]) != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "subject-1",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "email": "ada@example.com",
            "email_verified": True,
        }
        signed = jwt.encode(
            {"alg": "RS256", "kid": "k1"}, claims | self.claims | self.forged, self.signs_with
        )
        return JSONResponse(
            {"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": signed}
        )


def challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@contextmanager
def running_issuer(port: int) -> Iterator[FakeIssuer]:
    issuer = FakeIssuer(port)
    config = uvicorn.Config(
        Starlette(routes=issuer.routes()), port=port, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fake issuer")
    thread.start()
    try:
        until = time.monotonic() + 5
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield issuer
    finally:
        server.should_exit = True
        thread.join()
