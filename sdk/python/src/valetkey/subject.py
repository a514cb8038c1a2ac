"""Who the agent acts for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

TYPE_USER = "urn:valetkey:token-type:user"
TYPE_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
TYPE_JWT = "urn:ietf:params:oauth:token-type:jwt"


@dataclass(frozen=True)
class Subject:
    """A user, or what proves that they are there."""

    token_type: str
    token: str | Callable[[], str] = field(repr=False)

    def parameters(self) -> dict[str, str]:
        """What the request says about the user."""
        token = self.token() if callable(self.token) else self.token
        return {"subject_token": token, "subject_token_type": self.token_type}

    def key(self) -> object:
        """Tells subjects apart in the cache, without the token itself."""
        if callable(self.token):
            return (self.token_type, self.token)
        return (self.token_type, hashlib.sha256(self.token.encode()).hexdigest())


def user(name: str) -> Subject:
    """The owner of a personal agent, by e-mail or id."""
    return Subject(TYPE_USER, name)


def id_token(token: str | Callable[[], str]) -> Subject:
    """A user by their ID token. A function is called for each renewal, because the broker takes only fresh ones."""
    return Subject(TYPE_ID_TOKEN, token)


def sent_by(token: str) -> Subject:
    """The user for whom a parent agent has sent this one, by the token that it gave along: see `token_for_agent`."""
    return Subject(TYPE_JWT, token)
