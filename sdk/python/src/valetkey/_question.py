"""What is asked for: the parameters that both clients take."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from .credentials import Credentials
from .dpop import DpopKey
from .interaction import Interaction
from .subject import Subject

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE_ACCESS = "urn:ietf:params:oauth:token-type:access_token"

OnInteraction = Callable[[Interaction], Any]
Scopes = str | Iterable[str] | None
Limits = Sequence[Mapping[str, Any]] | None


class Options(TypedDict, total=False):
    """How an agent is connected. What is left out comes from the environment."""

    credentials: Credentials | None
    """Who the agent is; else as `credentials.discover` finds out."""
    subject: Subject | str | None
    """For whom it acts, where a call names nobody."""
    on_interaction: OnInteraction | None
    """Called when a person has to help; the call then waits for them. Without it `InteractionRequired` is raised."""
    wait_for: float
    """The longest that a person is waited for, in seconds."""
    patience: float
    """How many seconds a request may be put off by `Retry-After`."""
    dpop: DpopKey | bool | None
    """The key that tokens are bound to (RFC 9449); `True` for a new one."""
    certificate: str | tuple[str, str] | None
    """A client certificate (RFC 8705): a PEM file with certificate and key, or the two files."""
    verify: ssl.SSLContext | bool
    """How servers' certificates are checked. `certificate` is loaded into a context that is given here."""
    proxy: str | None
    """Used only where it is named here."""
    environ: Mapping[str, str] | None
    """In place of the process's environment."""


class Asked(TypedDict, total=False):
    """What is asked of the broker, and of the person."""

    subject: Subject | str | None
    """The user; else `acting_for`, else the client's own."""
    scope: Scopes
    """Left out means all that the person has granted."""
    connection: str | None
    """Which of the user's accounts."""
    limits: Limits
    """They narrow this token, or are suggested to the person."""
    message: str | None
    """The agent's words for the person; kept in the log."""
    task: str | None
    """Ties one task's events together."""


@dataclass(frozen=True)
class Question:
    """What a token is asked for."""

    audience: str
    subject: Subject | None
    scopes: frozenset[str] | None = None
    connection: str | None = None
    provider_token: bool = False
    details: str | None = None
    message: str | None = None
    task: str | None = None
    may_act: str | None = None
    """The sub-agent that the token is for."""

    def key(self) -> object:
        """The same question has the same token. The words for the person make no difference."""
        subject = self.subject.key() if self.subject else None
        return (self.audience, subject, self.scopes, self.connection, self.provider_token, self.details, self.task)

    def form(self) -> dict[str, str]:
        """The form, without who the agent is."""
        form = {"grant_type": "client_credentials"}
        if self.subject:
            form = {"grant_type": EXCHANGE, **self.subject.parameters()}
        form["audience"] = self.audience
        optional = {
            "scope": " ".join(sorted(self.scopes)) if self.scopes else None,
            "connection": self.connection,
            "requested_token_type": TYPE_ACCESS if self.provider_token else None,
            "authorization_details": self.details,
            "binding_message": self.message,
            "task": self.task,
            "may_act": self.may_act,
        }
        return form | {name: value for name, value in optional.items() if value}


def scopes_of(given: Scopes) -> frozenset[str] | None:
    """Scopes, however they were written."""
    if given is None:
        return None
    return frozenset(given.split() if isinstance(given, str) else given) or None


def details_of(limits: Limits) -> str | None:
    """Limits as `authorization_details` (RFC 9396)."""
    if not limits:
        return None
    return json.dumps([{"type": "valetkey_limit", **limit} for limit in limits], sort_keys=True)
