"""What can go wrong, by type. No error holds a token or a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .interaction import Interaction


class ValetkeyError(Exception):
    """Everything that this package raises."""


class CredentialsNotFound(ValetkeyError):
    """Nothing says who this agent is, or what it was given cannot be used."""


class Unreachable(ValetkeyError):
    """The broker did not answer, or not in a form that can be read. Nothing was released; try again."""


class NotBound(ValetkeyError):
    """A token came that is not bound to the agent's DPoP key. It was not used."""


class NeedsPerson:
    """Mixed into errors that only a person can mend."""

    interaction: Interaction | None = None


class OAuthError(ValetkeyError):
    """A refusal of the broker's OAuth endpoints (RFC 6749, section 5.2)."""

    def __init__(
        self,
        code: str,
        description: str,
        *,
        status: int = 400,
        event: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.status = status
        self.event = event
        """The event in the broker's log: name it when you ask an administrator."""
        self.retry_after = retry_after
        """Seconds."""


class InvalidRequest(OAuthError):
    """The request cannot be understood, or the user in it is not one that this agent may act for."""


class InvalidClient(OAuthError):
    """The agent is unknown or its proof is wrong."""


class UnauthorizedClient(OAuthError):
    """The agent is suspended or retired, or of a kind that may not do this."""


class InvalidScope(OAuthError):
    """A scope is unknown, or above the agent's ceiling."""


class InvalidTarget(OAuthError):
    """The provider, connection or audience is unknown or not open to this agent."""


class InvalidGrant(OAuthError):
    """The grant, or the handle of an interaction, has ended."""


class InvalidAuthorizationDetails(OAuthError):
    """A limit that this provider does not offer."""


class AccessDenied(OAuthError):
    """The person has refused, or an administrator has stopped it."""


class ExpiredToken(OAuthError):
    """Nobody answered in time. Ask again."""


class AuthorizationPending(OAuthError):
    """The person has not answered yet."""


class SlowDown(OAuthError):
    """Asked too often, or five questions of this agent to the person are open already. Nobody has refused anything."""


class TemporarilyUnavailable(OAuthError):
    """Nothing can be released safely at present. Try again after `retry_after` seconds."""


class InvalidProof(OAuthError):
    """The proof of the DPoP key was refused, or this agent's tokens have to be bound and nothing was there to bind to."""


class NonceNeeded(OAuthError):
    """The proof had no fresh nonce. The client tries again by itself; this is raised when that did not help."""


class InteractionRequired(OAuthError, NeedsPerson):
    """A person has to agree first: show them `interaction.uri`."""

    interaction: Interaction

    def __init__(self, description: str, interaction: Interaction, *, event: str | None = None) -> None:
        super().__init__("interaction_required", f"{description}; open {interaction.uri}", event=event)
        self.interaction = interaction


class Denied(ValetkeyError, NeedsPerson):
    """The gateway refused a call. The provider has not seen it, or its answer was withheld."""

    def __init__(
        self,
        code: str,
        description: str,
        *,
        status: int,
        limit: Mapping[str, Any] | None = None,
        interaction: Interaction | None = None,
        event: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        words = f"{code}: {description}"
        super().__init__(f"{words}; open {interaction.uri}" if interaction else words)
        self.code = code
        self.description = description
        self.status = status
        self.limit = limit
        """The limit that was met: `kind`, `allowed`, `asked`."""
        self.interaction = interaction
        """Where a person can widen the grant, if they want to."""
        self.event = event
        self.retry_after = retry_after


class InsufficientScope(Denied):
    """No scope of the token opens this call."""


class RouteNotAllowed(Denied):
    """No scope at all opens this call."""


class LimitExceeded(Denied):
    """A limit of the grant or the token; with `retry_after`, a budget that fills again."""


class RepairNeeded(Denied):
    """The user has to connect the account again."""


class TokenRejected(Denied):
    """The gateway takes no token of this grant any more, also not a new one."""


class AmbiguousCall(Denied):
    """The path, query or body can be read in two ways. Send the plain form."""


class UpstreamFailed(Denied):
    """The provider answered badly, late or not at all."""


class GatewayUnavailable(Denied):
    """The gateway cannot decide safely at present."""


class ProofRejected(Denied):
    """The gateway did not take the proof of the DPoP key. A body that was streamed could not be sent again: call anew."""
