"""The protocol, written once for both clients."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from . import _trace, _wire, errors
from ._flow import Alone, Close, Flow, Pause, Read, Send, Tell, request
from .credentials import ClientSecret, Credentials, discover
from .interaction import Interaction
from .subject import Subject, user
from .token import Token, TokenCache

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CIBA = "urn:openid:params:grant-type:ciba"
TYPE_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
TIMEOUT_S = 30.0
"""Longer than the broker waits for a provider."""
SLOWER_BY_S = 5

OnInteraction = Callable[[Interaction], Any]
Scopes = str | Iterable[str] | None
Limits = Sequence[Mapping[str, Any]] | None

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class WrongAddress(errors.ValetkeyError):
    """A request to somewhere else than where the token works. The token was not sent."""


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
        }
        return form | {name: value for name, value in optional.items() if value}


@dataclass
class Session:
    """Calls under one question: which token they carry, and where it may be sent."""

    base: httpx.URL
    question: Question
    on_interaction: OnInteraction | None


class Core:
    """What both clients share: who the agent is, its tokens, and the flows."""

    def __init__(
        self,
        issuer: str | None,
        client_id: str | None,
        client_secret: str | None,
        credentials: Credentials | None,
        subject: Subject | str | None,
        on_interaction: OnInteraction | None,
        wait_for: float,
        patience: float,
        environ: Mapping[str, str] | None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.issuer = _named(issuer, environ, "VALETKEY_ISSUER").rstrip("/")
        self.client_id = _named(client_id, environ, "VALETKEY_CLIENT_ID")
        if client_secret is not None and credentials is not None:
            raise errors.CredentialsNotFound("pass client_secret or credentials, not both")
        given = ClientSecret(client_secret) if client_secret is not None else credentials
        self.credentials = given or discover(environ)
        self.subject = user(subject) if isinstance(subject, str) else subject
        self.on_interaction = on_interaction
        self.wait_for = wait_for
        self.patience = patience
        self.clock = time.monotonic
        self.cache = TokenCache(lambda: self.clock())
        self._acting_for: ContextVar[Subject | None] = ContextVar("valetkey_subject", default=None)

    @contextlib.contextmanager
    def acting_for(self, subject: Subject | str) -> Iterator[None]:
        """Names the user for everything inside the block, in this thread or task."""
        mark = self._acting_for.set(user(subject) if isinstance(subject, str) else subject)
        try:
            yield
        finally:
            self._acting_for.reset(mark)

    def question(
        self,
        audience: str,
        subject: Subject | str | None,
        scopes: Scopes = None,
        limits: Limits = None,
        **more: Any,
    ) -> Question:
        """What is asked, for the user named here, by the block around, or for the whole client."""
        if isinstance(subject, str):
            subject = user(subject)
        subject = subject or self._acting_for.get() or self.subject
        if subject is None and audience.startswith("provider:"):
            raise errors.ValetkeyError("name the user: subject=, acting_for(), or subject= of the client")
        if scopes is not None:
            scopes = frozenset(scopes.split() if isinstance(scopes, str) else scopes) or None
        details = None
        if limits:
            details = json.dumps([{"type": "valetkey_limit", **limit} for limit in limits], sort_keys=True)
        return Question(audience, subject, scopes, details=details, **more)

    # Flows.

    def token(self, question: Question, on_interaction: OnInteraction | None) -> Flow[Token]:
        """A token from the cache, or a new one; of those who ask at the same moment one asks the broker."""
        kept = self.cache.get(question.key())
        if kept is not None:
            return kept
        # Whoever does not want to wait for a person does not wait behind somebody who does.
        if on_interaction is None:
            token: Token = yield Alone(question.key(), lambda: self._renewed(question))
        else:
            token = yield Alone(("person", question.key()), lambda: self._agreed(question, on_interaction))
        return token

    def _agreed(self, question: Question, on_interaction: OnInteraction) -> Flow[Token]:
        """A token for which a person is told and waited for: once, however many ask at the same moment."""
        try:
            token: Token = yield Alone(question.key(), lambda: self._renewed(question))
        except errors.InteractionRequired as needed:
            yield Tell(on_interaction, needed.interaction)
            try:
                token = yield from self.wait(needed.interaction, self.wait_for)
            except errors.InvalidGrant:
                # Another process of this agent has collected it: the grant is there all the same.
                token = yield Alone(question.key(), lambda: self._renewed(question))
            self.cache.put(question.key(), token)
        return token

    def _renewed(self, question: Question) -> Flow[Token]:
        kept = self.cache.get(question.key())
        if kept is not None:
            return kept
        answer = yield from self.post("/oauth2/token", question.form())
        token = _wire.token(answer, self.clock())
        self.cache.put(question.key(), token)
        return token

    def ask(self, question: Question) -> Flow[Interaction]:
        """Asks the person now, for a token that is needed later."""
        form = question.form()
        del form["grant_type"]
        answer = yield from self.post("/oauth2/bc-authorize", form)
        asked = _wire.interaction(_wire.body_of(answer))
        if asked is None:
            raise errors.Unreachable("the broker's answer holds no auth_req_id")
        return asked

    def wait(self, interaction: Interaction, wait_for: float) -> Flow[Token]:
        """Polls until the person has answered."""
        pace = float(interaction.interval)
        until = self.clock() + min(wait_for, float(interaction.expires_in))
        # Where nobody has to be asked the token is there.
        pause = pace if interaction.uri else 0.0
        while True:
            if self.clock() + pause > until:
                raise errors.InteractionRequired("nobody has answered yet", interaction)
            if pause:
                yield Pause(pause)
            pause = pace
            try:
                answer = yield from self.post(
                    "/oauth2/token", {"grant_type": CIBA, "auth_req_id": interaction.auth_req_id}
                )
            except errors.AuthorizationPending:
                continue
            except errors.SlowDown:
                pace += SLOWER_BY_S
                pause = pace
                continue
            except (errors.TemporarilyUnavailable, errors.Unreachable):
                continue
            return _wire.token(answer, self.clock())

    def revoke(self, token: Token) -> Flow[None]:
        """Ends a token."""
        yield from self.post("/oauth2/revoke", {"token": token.access_token})

    def post(self, path: str, form: dict[str, str]) -> Flow[httpx.Response]:
        """One request of the agent; tried again while the broker says when, within the patience."""
        patience = self.patience
        pause = 0.5
        while True:
            proof = yield from self.credentials.proof(self.issuer, self.client_id)
            headers = {"Accept": "application/json"}
            _trace.inject(headers)
            call = request("POST", self.issuer + path, headers=headers, data={**form, **proof}, timeout=TIMEOUT_S)
            refused: errors.ValetkeyError
            try:
                answer: httpx.Response = yield Send(call)
            except httpx.HTTPError as error:
                refused = errors.Unreachable(f"no answer from {self.issuer} ({type(error).__name__})")
                wait: float | None = pause
            else:
                if answer.is_success:
                    return answer
                refused = _wire.oauth_error(answer)
                # `slow_down` for a poll has status 400: whoever polls minds it.
                wait = refused.retry_after if answer.status_code in (429, 503) else None
            if wait is None or wait > patience:
                raise refused from None
            yield Pause(wait)
            patience -= wait
            pause *= 2

    def call(self, call: httpx.Request, session: Session) -> Flow[httpx.Response]:
        """One call with a token: renews it, backs off, and raises what the gateway refuses."""
        _stays_within(call.url, session.base)
        is_replayable = isinstance(call.stream, httpx.ByteStream)
        patience, pause = self.patience, 1.0
        is_renewed = is_asked = False
        key = session.question.key()
        token: Token = yield from self.token(session.question, session.on_interaction)
        _trace.inject(call.headers)
        while True:
            call.headers["Authorization"] = f"Bearer {token.access_token}"
            answer: httpx.Response = yield Send(call, streamed=True)
            is_ours = answer.headers.get("x-valetkey-decision") == "deny"
            if answer.status_code == 401 and is_replayable and not is_renewed:
                yield Close(answer)
                is_renewed = True
                self.cache.drop(key, token)
                token = yield from self.token(session.question, session.on_interaction)
                continue
            wait = _wire.retry_after(answer)
            if answer.status_code == 429 or (answer.status_code == 503 and (is_ours or call.method in _SAFE_TO_REPEAT)):
                wait = pause if wait is None else wait
                if is_replayable and wait <= patience:
                    yield Close(answer)
                    yield Pause(wait)
                    patience -= wait
                    pause *= 2
                    continue
            if not is_ours:
                return answer
            yield Read(answer)
            yield Close(answer)
            denied = _wire.denial(answer)
            can_ask = denied.interaction is not None and session.on_interaction is not None
            if not can_ask or is_asked or not is_replayable:
                raise denied
            assert denied.interaction is not None and session.on_interaction is not None
            is_asked = True
            widened = partial(self._widened, denied.interaction, session.on_interaction)
            token = yield Alone(("person", denied.interaction.auth_req_id), widened)
            # What the person has added is in this token; later ones have it when they are asked for anew.
            self.cache.drop(key)

    def _widened(self, asked: Interaction, on_interaction: OnInteraction) -> Flow[Token]:
        """The token that comes of a denial; calls that were denied at the same moment share it."""
        kept = self.cache.get(asked.auth_req_id)
        if kept is not None:
            return kept
        yield Tell(on_interaction, asked)
        token = yield from self.wait(asked, self.wait_for)
        self.cache.put(asked.auth_req_id, token)
        return token


def _named(given: str | None, environ: Mapping[str, str], name: str) -> str:
    text = given or environ.get(name)
    if not text:
        raise errors.CredentialsNotFound(f"set {name}, or pass it to the client")
    return text


def _stays_within(url: httpx.URL, base: httpx.URL) -> None:
    here = (url.scheme, url.host, url.port)
    if here != (base.scheme, base.host, base.port) or not url.raw_path.startswith(base.raw_path):
        raise WrongAddress(f"this client sends its token below {base} only")
