"""Tokens and calls for AI agents that act for people, through a Valetkey broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import httpx

from . import credentials, dpop, errors
from ._aio import AsyncValetkey
from ._client import Valetkey
from ._core import WrongAddress
from ._question import Asked, Options
from .dpop import DpopKey
from .errors import Denied, InteractionRequired, OAuthError, ValetkeyError
from .interaction import Interaction
from .subject import Subject, id_token, sent_by, user
from .token import Token

__version__ = "0.1.0"
__all__ = [
    "Asked",
    "AsyncValetkey",
    "Denied",
    "DpopKey",
    "Interaction",
    "InteractionRequired",
    "OAuthError",
    "Options",
    "Subject",
    "Token",
    "Valetkey",
    "ValetkeyError",
    "WrongAddress",
    "credentials",
    "dpop",
    "errors",
    "id_token",
    "requires_grant",
    "sent_by",
    "user",
]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def requires_grant(
    valetkey: Valetkey, provider: str, **asked: Any
) -> Callable[[Callable[Concatenate[httpx.Client, P], R]], Callable[P, R]]: ...


@overload
def requires_grant(
    valetkey: AsyncValetkey, provider: str, **asked: Any
) -> Callable[[Callable[Concatenate[httpx.AsyncClient, P], Awaitable[R]]], Callable[P, Awaitable[R]]]: ...


def requires_grant(valetkey: Valetkey | AsyncValetkey, provider: str, **asked: Any) -> Any:
    """`@requires_grant(valetkey, "entra", scope="Mail.Read")`: see the method of the same name."""
    return valetkey.requires_grant(provider, **asked)
