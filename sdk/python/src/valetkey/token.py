"""Tokens, and where they are kept: in memory only."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_KEPT = 1024
"""How many tokens a cache holds; the one that was used longest ago goes first."""


@dataclass(frozen=True)
class Token:
    """A token that the broker has issued."""

    access_token: str = field(repr=False)
    expires_at: float
    """On the clock of `time.monotonic`."""
    life: float
    """Seconds that it lived when it came."""
    scope: frozenset[str]
    issued_token_type: str
    token_type: str = "Bearer"
    """How it is shown: `Bearer`, or `DPoP` where it is bound to a key."""
    gateway: str | None = None
    """Where it works, for gateway tokens."""
    grant_id: str | None = None
    authorization_details: tuple[Mapping[str, Any], ...] = ()
    """The limits in force."""
    event: str | None = None

    @property
    def is_bound_to_key(self) -> bool:
        """Whether it works with proofs of the agent's key only (RFC 9449)."""
        return self.token_type.lower() == "dpop"

    def is_fresh(self, now: float) -> bool:
        """Whether it is worth sending: renewed a little before its end, so that no call meets the end."""
        return now < self.expires_at - min(30.0, self.life / 5)


class TokenCache:
    """Tokens by what was asked for. Never written anywhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[object, Token] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"TokenCache({len(self._kept)} tokens)"

    def get(self, key: object) -> Token | None:
        """A token that is still worth sending."""
        with self._lock:
            token = self._kept.get(key)
            if token is None:
                return None
            if not token.is_fresh(self._clock()):
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return token

    def put(self, key: object, token: Token) -> None:
        """Keeps a token."""
        with self._lock:
            self._kept[key] = token
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def drop(self, key: object, token: Token | None = None) -> None:
        """Forgets a token; with `token`, only if it is still that one."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and (token is None or kept is token):
                del self._kept[key]

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._kept.clear()
