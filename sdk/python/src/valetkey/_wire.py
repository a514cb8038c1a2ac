"""Answers of the broker, read into values and typed errors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from . import errors
from .interaction import Interaction
from .token import Token

_OAUTH: dict[str, type[errors.OAuthError]] = {
    "invalid_request": errors.InvalidRequest,
    "invalid_client": errors.InvalidClient,
    "unauthorized_client": errors.UnauthorizedClient,
    "invalid_scope": errors.InvalidScope,
    "invalid_target": errors.InvalidTarget,
    "invalid_grant": errors.InvalidGrant,
    "invalid_authorization_details": errors.InvalidAuthorizationDetails,
    "access_denied": errors.AccessDenied,
    "expired_token": errors.ExpiredToken,
    "authorization_pending": errors.AuthorizationPending,
    "slow_down": errors.SlowDown,
    "temporarily_unavailable": errors.TemporarilyUnavailable,
    "invalid_dpop_proof": errors.InvalidProof,
    "use_dpop_nonce": errors.NonceNeeded,
}

_DENIALS: dict[str, type[errors.Denied]] = {
    "insufficient_scope": errors.InsufficientScope,
    "route_not_allowed": errors.RouteNotAllowed,
    "limit_exceeded": errors.LimitExceeded,
    "interaction_required": errors.RepairNeeded,
    "invalid_token": errors.TokenRejected,
    "invalid_request": errors.AmbiguousCall,
    "upstream_error": errors.UpstreamFailed,
    "temporarily_unavailable": errors.GatewayUnavailable,
    "invalid_dpop_proof": errors.ProofRejected,
    "use_dpop_nonce": errors.ProofRejected,
}


def body_of(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an answer."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise errors.Unreachable(f"what answered is not the broker (status {response.status_code})")
    return body


def token(response: httpx.Response, now: float) -> Token:
    """The token of a successful answer."""
    body = body_of(response)
    try:
        life = float(body["expires_in"])
        return Token(
            access_token=str(body["access_token"]),
            expires_at=now + life,
            life=life,
            scope=frozenset(str(body.get("scope", "")).split()),
            issued_token_type=str(body["issued_token_type"]),
            token_type=str(body.get("token_type", "Bearer")),
            gateway=body.get("gateway"),
            grant_id=body.get("grant_id"),
            authorization_details=tuple(body.get("authorization_details") or ()),
            event=response.headers.get("x-valetkey-event"),
        )
    except (KeyError, TypeError, ValueError):
        raise errors.Unreachable("the broker's answer holds no token") from None


def interaction(body: Mapping[str, Any]) -> Interaction | None:
    """What a person has to do, where an answer says so."""
    handle = body.get("auth_req_id")
    if not isinstance(handle, str):
        return None
    return Interaction(
        uri=body.get("interaction_uri"),
        kind=str(body.get("interaction", "consent")),
        expires_in=int(body.get("expires_in", 86400)),
        interval=int(body.get("interval", 5)),
        auth_req_id=handle,
    )


def oauth_error(response: httpx.Response) -> errors.OAuthError:
    """The error of a refused request."""
    body = body_of(response)
    code, words = str(body.get("error", "unknown")), str(body.get("error_description", "no details"))
    event = response.headers.get("x-valetkey-event")
    asked = interaction(body)
    if code == "interaction_required" and asked is not None:
        return errors.InteractionRequired(words, asked, event=event)
    kind = _OAUTH.get(code, errors.OAuthError)
    return kind(code, words, status=response.status_code, event=event, retry_after=retry_after(response))


def denial(response: httpx.Response) -> errors.Denied:
    """The error of a call that the gateway refused; its body has been read."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    code, words = str(body.get("error", "denied")), str(body.get("error_description", "no details"))
    limit = body.get("limit")
    kind = _DENIALS.get(code, errors.Denied)
    return kind(
        code,
        words,
        status=response.status_code,
        limit=limit if isinstance(limit, dict) else None,
        interaction=interaction(body),
        event=response.headers.get("x-valetkey-event"),
        retry_after=retry_after(response),
    )


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, from a number or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
