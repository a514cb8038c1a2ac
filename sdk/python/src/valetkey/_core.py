"""The protocol, written once for both clients."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import httpx

from . import _trace, _wire, errors
from ._flow import Alone, Close, Flow, Pause, Read, Send, Tell, request
from ._question import Asked, Limits, OnInteraction, Question, Scopes, details_of, scopes_of
from .credentials import CertificateOnly, ClientSecret, Credentials, discover
from .dpop import DpopKey, Prover, wants_nonce
from .interaction import Interaction
from .subject import Subject, user
from .token import Token, TokenCache

if TYPE_CHECKING:
    from typing_extensions import Unpack

CIBA = "urn:openid:params:grant-type:ciba"
TIMEOUT_S = 30.0
"""Longer than the broker waits for a provider."""
SLOWER_BY_S = 5
TOKEN_PATH = "/oauth2/token"

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class WrongAddress(errors.ValetkeyError):
    """A request to somewhere else than where the token works. The token was not sent."""


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
        *,
        credentials: Credentials | None = None,
        subject: Subject | str | None = None,
        on_interaction: OnInteraction | None = None,
        wait_for: float = 86400,
        patience: float = 60,
        dpop: DpopKey | bool | None = None,
        certificate: str | tuple[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.issuer = _named(issuer, environ, "VALETKEY_ISSUER").rstrip("/")
        self.client_id = _named(client_id, environ, "VALETKEY_CLIENT_ID")
        if client_secret is not None and credentials is not None:
            raise errors.CredentialsNotFound("pass client_secret or credentials, not both")
        given = ClientSecret(client_secret) if client_secret is not None else credentials
        if given is None and certificate is not None:
            given = CertificateOnly()
        self.credentials = given or discover(environ)
        self.subject = user(subject) if isinstance(subject, str) else subject
        self.on_interaction = on_interaction
        self.wait_for = wait_for
        self.patience = patience
        key = DpopKey.generate() if dpop is True else dpop or None
        self.prover = Prover(key) if key else None
        self.verify = _with_certificate(verify, certificate or _certificate_in(environ))
        self.proxy = proxy
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
        *,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        connection: str | None = None,
        provider_token: bool = False,
        limits: Limits = None,
        message: str | None = None,
        task: str | None = None,
    ) -> Question:
        """What is asked, for the user named here, by the block around, or for the whole client."""
        if isinstance(subject, str):
            subject = user(subject)
        subject = subject or self._acting_for.get() or self.subject
        if subject is None and audience.startswith("provider:"):
            raise errors.ValetkeyError("name the user: subject=, acting_for(), or subject= of the client")
        details = details_of(limits)
        return Question(audience, subject, scopes_of(scope), connection, provider_token, details, message, task)

    def question_for(
        self, provider: str | None, audience: str | None = None, *, provider_token: bool = False, **asked: Unpack[Asked]
    ) -> Question:
        """What is asked of a provider or of an internal back end."""
        if (provider is None) == (audience is None):
            raise ValueError("name a provider or an audience")
        named = f"provider:{provider}" if audience is None else audience
        return self.question(named, provider_token=provider_token, **asked)

    def question_for_agent(
        self, agent: str, scope: Scopes, subject: Subject | str | None, task: str | None
    ) -> Question:
        """What is asked to send a sub-agent: our broker is the audience."""
        question = self.question(self.issuer, subject=subject, scope=scope, task=task)
        if question.subject is None:
            raise errors.ValetkeyError("name the user: subject=, acting_for(), or subject= of the client")
        return replace(question, may_act=agent)

    def session(
        self, provider: str, on_interaction: OnInteraction | None, **asked: Unpack[Asked]
    ) -> Session:
        """Calls of a provider through the gateway."""
        base = httpx.URL(f"{self.issuer}/gateway/{provider}/")
        return Session(base, self.question_for(provider, **asked), on_interaction or self.on_interaction)

    def back_end(self, audience: str, base_url: str, **asked: Unpack[Asked]) -> Session:
        """Calls of an internal back end."""
        return Session(httpx.URL(base_url.rstrip("/") + "/"), self.question(audience, **asked), None)

    # Flows.

    def told_token(self, question: Question, on_interaction: OnInteraction | None = None) -> Flow[Token]:
        """A token, within a span."""
        with _trace.span("valetkey token") as span:
            span.note(audience=question.audience, client_id=self.client_id)
            token: Token = yield from self.token(question, on_interaction or self.on_interaction)
            span.note(grant_id=token.grant_id, event=token.event)
            return token

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
        answer = yield from self.post(TOKEN_PATH, question.form())
        token = self._bound(answer)
        self.cache.put(question.key(), token)
        return token

    def _bound(self, answer: httpx.Response) -> Token:
        """The token of an answer. One that anybody could use does not pass for one that only the key's holder can."""
        token = _wire.token(answer, self.clock())
        if self.prover and not token.is_bound_to_key:
            raise errors.NotBound("the broker's token is not bound to the DPoP key: it was not used")
        return token

    def send(self, question: Question) -> Flow[Token]:
        """A token for a sub-agent: a new one each time, so that it has all of its life before it."""
        answer = yield from self.post(TOKEN_PATH, question.form())
        return self._bound(answer)

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
                answer = yield from self.post(TOKEN_PATH, {"grant_type": CIBA, "auth_req_id": interaction.auth_req_id})
            except errors.AuthorizationPending:
                continue
            except errors.SlowDown:
                pace += SLOWER_BY_S
                pause = pace
                continue
            except (errors.TemporarilyUnavailable, errors.Unreachable):
                continue
            return self._bound(answer)

    def wait_for_person(self, interaction: Interaction, wait_for: float | None) -> Flow[Token]:
        """The same, as long as the client waits if nothing else is said."""
        return self.wait(interaction, self.wait_for if wait_for is None else wait_for)

    def revoke(self, token: Token) -> Flow[None]:
        """Ends a token."""
        yield from self.post("/oauth2/revoke", {"token": token.access_token})

    def post(self, path: str, form: dict[str, str]) -> Flow[httpx.Response]:
        """One request of the agent; tried again while the broker says when, within the patience."""
        patience = self.patience
        pause = 0.5
        prover = self.prover if path == TOKEN_PATH else None
        may_fetch_nonce = prover is not None
        while True:
            proof = yield from self.credentials.proof(self.issuer, self.client_id)
            headers = {"Accept": "application/json"}
            _trace.inject(headers)
            call = request("POST", self.issuer + path, headers=headers, data={**form, **proof}, timeout=TIMEOUT_S)
            if prover:
                prover.sign(call)
            refused: errors.ValetkeyError
            try:
                answer: httpx.Response = yield Send(call)
            except httpx.HTTPError as error:
                refused = errors.Unreachable(f"no answer from {self.issuer} ({type(error).__name__})")
                wait: float | None = pause
            else:
                if prover:
                    prover.learn(call, answer)
                if answer.is_success:
                    return answer
                refused = _wire.oauth_error(answer)
                if may_fetch_nonce and isinstance(refused, errors.NonceNeeded):
                    may_fetch_nonce = False
                    continue
                # `slow_down` for a poll has status 400: whoever polls minds it.
                wait = refused.retry_after if answer.status_code in (429, 503) else None
            if wait is None or wait > patience:
                raise refused from None
            yield Pause(wait)
            patience -= wait
            pause *= 2
            may_fetch_nonce = prover is not None

    def told_call(self, call: httpx.Request, session: Session) -> Flow[httpx.Response]:
        """One call, within a span."""
        with _trace.span("valetkey call") as span:
            span.note(audience=session.question.audience, method=call.method)
            try:
                response: httpx.Response = yield from self.call(call, session)
            except errors.Denied as denied:
                span.note(decision="deny", event=denied.event)
                span.status(denied.status)
                raise
            span.note(event=response.headers.get("x-valetkey-event"))
            span.status(response.status_code)
            return response

    def call(self, call: httpx.Request, session: Session) -> Flow[httpx.Response]:
        """One call with a token: renews it, backs off, and raises what the gateway refuses."""
        _stays_within(call.url, session.base)
        is_replayable = isinstance(call.stream, httpx.ByteStream)
        patience, pause = self.patience, 1.0
        is_renewed = is_asked = False
        may_fetch_nonce = True
        key = session.question.key()
        token: Token = yield from self.token(session.question, session.on_interaction)
        _trace.inject(call.headers)
        while True:
            self._show(token, call)
            answer: httpx.Response = yield Send(call, streamed=True)
            if self.prover:
                self.prover.learn(call, answer)
                if may_fetch_nonce and is_replayable and wants_nonce(answer):
                    yield Close(answer)
                    may_fetch_nonce = False
                    continue
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
                    may_fetch_nonce = True
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

    def _show(self, token: Token, call: httpx.Request) -> None:
        """Puts the token on a request, with a proof made for this request where it is bound to the key."""
        if self.prover and token.is_bound_to_key:
            call.headers["Authorization"] = f"DPoP {token.access_token}"
            self.prover.sign(call, token.access_token)
        else:
            call.headers["Authorization"] = f"Bearer {token.access_token}"

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


def _certificate_in(environ: Mapping[str, str]) -> str | tuple[str, str] | None:
    path, key = environ.get("VALETKEY_CLIENT_CERTIFICATE_FILE"), environ.get("VALETKEY_CLIENT_CERTIFICATE_KEY_FILE")
    return (path, key) if path and key else path


def _with_certificate(
    verify: ssl.SSLContext | bool, certificate: str | tuple[str, str] | None
) -> ssl.SSLContext | bool:
    if certificate is None:
        return verify
    context = verify if isinstance(verify, ssl.SSLContext) else httpx.create_ssl_context(verify=verify, trust_env=False)
    path, key = (certificate, None) if isinstance(certificate, str) else certificate
    try:
        context.load_cert_chain(path, key)
    except OSError as error:
        raise errors.CredentialsNotFound(f"{path}: no usable certificate with its key ({error.strerror})") from None
    return context
