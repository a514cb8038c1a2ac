"""Proofs of possession (DPoP, RFC 9449): tokens that are worth nothing without the agent's key."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx

from ._keys import SigningKey, sha256
from .errors import CredentialsNotFound


class DpopKey:
    """A key that the agent's tokens are bound to. Needs `valetkey[jwt]`.

    One for a process is enough: it can be made anew at every start, because tokens do not outlive it.
    """

    def __init__(
        self, pem: str | bytes, *, algorithm: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._take(SigningKey.load(pem, algorithm), now)

    @classmethod
    def generate(cls, *, now: Callable[[], float] = time.time) -> DpopKey:
        """A new key, which is written nowhere."""
        made = cls.__new__(cls)
        made._take(SigningKey.generate(), now)
        return made

    @classmethod
    def file(cls, path: str | os.PathLike[str]) -> DpopKey:
        """A key in a PEM file, for processes that share tokens."""
        try:
            return cls(Path(path).read_bytes())
        except OSError as error:
            raise CredentialsNotFound(f"{path}: {error.strerror}") from None

    def _take(self, key: SigningKey, now: Callable[[], float]) -> None:
        self._key = key
        self._now = now
        self._jwk = key.public_jwk()

    def __repr__(self) -> str:
        return f"DpopKey({self._key.algorithm}, …)"

    @property
    def thumbprint(self) -> str:
        """What tokens say that they are bound to (`cnf.jkt`, RFC 7638)."""
        return self._key.thumbprint()

    def proof(self, method: str, url: httpx.URL, *, nonce: str | None = None, token: str | None = None) -> str:
        """A proof for one request, with the token that it carries, if it carries one."""
        claims: dict[str, str | int] = {
            "jti": uuid.uuid4().hex,
            "htm": method,
            "htu": str(url.copy_with(query=None, fragment=None)),
            "iat": int(self._now()),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if token is not None:
            claims["ath"] = sha256(token)
        return self._key.sign(claims, {"typ": "dpop+jwt", "jwk": self._jwk})


class Prover:
    """Puts proofs on requests, with the nonce that their server gave last (section 8)."""

    def __init__(self, key: DpopKey) -> None:
        self.key = key
        self._nonces: dict[tuple[str, str, int | None], str] = {}

    def sign(self, call: httpx.Request, token: str | None = None) -> None:
        """Adds a new proof in place of a former one."""
        nonce = self._nonces.get(_origin(call.url))
        call.headers["DPoP"] = self.key.proof(call.method, call.url, nonce=nonce, token=token)

    def learn(self, call: httpx.Request, answer: httpx.Response) -> None:
        """Keeps the answer's nonce for the next request to the same server."""
        if given := answer.headers.get("dpop-nonce"):
            self._nonces[_origin(call.url)] = given


def wants_nonce(answer: httpx.Response) -> bool:
    """Whether a call was refused for the lack of a fresh nonce (section 9)."""
    challenge = answer.headers.get("www-authenticate", "")
    return answer.status_code == 401 and challenge.lower().startswith("dpop") and "use_dpop_nonce" in challenge


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return (url.scheme, url.host, url.port)
