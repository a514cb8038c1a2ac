"""Keys that sign JWTs. Needs `valetkey[jwt]`; nothing of it is imported before a key is used."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .errors import CredentialsNotFound

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class SigningKey:
    """A private key and the algorithm that it signs with."""

    def __init__(self, key: Any, algorithm: str | None = None) -> None:
        self._key = key
        self.algorithm = algorithm or _algorithm_of(key)

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, …)"

    @classmethod
    def load(cls, pem: str | bytes, algorithm: str | None = None) -> SigningKey:
        """Reads an unencrypted PEM key."""
        try:
            from cryptography.hazmat.primitives import serialization
        except ImportError as error:
            raise CredentialsNotFound("a private key needs the extra `valetkey[jwt]`") from error
        try:
            key = serialization.load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
        except (ValueError, TypeError) as error:
            raise CredentialsNotFound("the private key is not an unencrypted PEM key") from error
        return cls(key, algorithm)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key on the curve P-256: what every library reads."""
        try:
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError as error:
            raise CredentialsNotFound("a private key needs the extra `valetkey[jwt]`") from error
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
        """A JWT."""
        import jwt

        return jwt.encode(dict(claims), self._key, algorithm=self.algorithm, headers=dict(headers or {}))

    def public_jwk(self) -> dict[str, str]:
        """The public key, with the members that make it and no others (RFC 7638)."""
        import jwt

        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self._key.public_key(), as_dict=True)
        return {name: str(made[name]) for name in ("crv", "e", "kty", "n", "x", "y") if name in made}

    def thumbprint(self) -> str:
        """What the key is known by (RFC 7638)."""
        return sha256(json.dumps(self.public_jwk(), sort_keys=True, separators=(",", ":")))


def sha256(text: str) -> str:
    """The SHA-256 of a text in base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _algorithm_of(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    raise CredentialsNotFound("the private key is of a kind that signs no JWTs")
