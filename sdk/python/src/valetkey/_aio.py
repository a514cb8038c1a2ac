"""The asynchronous client."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, TypeVar

import httpx

from . import _trace, errors
from ._client import target
from ._core import TIMEOUT_S, Core, Limits, OnInteraction, Scopes, Session
from ._flow import AsyncDriver
from .credentials import Credentials
from .interaction import Interaction
from .subject import Subject
from .token import Token

P = ParamSpec("P")
R = TypeVar("R")


class AsyncValetkey:
    """An agent's connection to the broker.

    What is left out comes from the environment: `VALETKEY_ISSUER`, `VALETKEY_CLIENT_ID`, and credentials as
    `credentials.discover` finds them. `on_interaction` is called when a person has to help; the call then waits for
    their answer, at most `wait_for` seconds. Without it `InteractionRequired` is raised. `patience` is how many seconds
    a request may be put off by `Retry-After`. Proxies are used only where `proxy` names one.
    """

    def __init__(
        self,
        issuer: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        credentials: Credentials | None = None,
        subject: Subject | str | None = None,
        on_interaction: OnInteraction | None = None,
        wait_for: float = 86400,
        patience: float = 60,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._core = Core(
            issuer, client_id, client_secret, credentials, subject, on_interaction, wait_for, patience, environ
        )
        outward = transport or httpx.AsyncHTTPTransport(verify=verify, proxy=proxy)
        self._driver = AsyncDriver(outward, transport or httpx.AsyncHTTPTransport())

    def __repr__(self) -> str:
        return f"AsyncValetkey({self._core.issuer!r}, {self._core.client_id!r})"

    async def __aenter__(self) -> AsyncValetkey:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Forgets all tokens and closes the connections."""
        self._core.cache.clear()
        await self._driver.close()

    def acting_for(self, subject: Subject | str) -> AbstractContextManager[None]:
        """Names the user for everything inside the block, in this thread or task."""
        return self._core.acting_for(subject)

    async def token(
        self,
        provider: str | None = None,
        *,
        audience: str | None = None,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        connection: str | None = None,
        provider_token: bool = False,
        limits: Limits = None,
        message: str | None = None,
        task: str | None = None,
        on_interaction: OnInteraction | None = None,
    ) -> Token:
        """A token for a provider, or with `audience` for an internal back end.

        `scope` left out means all that the person has granted. `limits` narrow this token, or are suggested to the
        person. `message` and `task` are shown to them and kept in the log.
        """
        question = self._core.question(
            target(provider, audience),
            subject,
            scope,
            limits,
            connection=connection,
            provider_token=provider_token,
            message=message,
            task=task,
        )
        with _trace.span("valetkey token") as span:
            span.note(audience=question.audience, client_id=self._core.client_id)
            token = await self._driver.run(self._core.token(question, on_interaction or self._core.on_interaction))
            span.note(grant_id=token.grant_id, event=token.event)
            return token

    async def ask(
        self,
        provider: str,
        *,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        connection: str | None = None,
        limits: Limits = None,
        message: str | None = None,
        task: str | None = None,
    ) -> Interaction:
        """Asks the person before the token is needed. Without a `uri` everything is granted already."""
        question = self._core.question(
            target(provider, None), subject, scope, limits, connection=connection, message=message, task=task
        )
        return await self._driver.run(self._core.ask(question))

    async def wait(self, interaction: Interaction, *, wait_for: float | None = None) -> Token:
        """Polls until the person has answered; the token comes once. `InteractionRequired` when time is up."""
        return await self._driver.run(
            self._core.wait(interaction, self._core.wait_for if wait_for is None else wait_for)
        )

    async def revoke(self, token: Token) -> None:
        """Ends a token before its time."""
        await self._driver.run(self._core.revoke(token))

    def client_for(
        self,
        provider: str,
        *,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        connection: str | None = None,
        limits: Limits = None,
        message: str | None = None,
        task: str | None = None,
        on_interaction: OnInteraction | None = None,
        timeout: float = TIMEOUT_S,
    ) -> httpx.AsyncClient:
        """An HTTP client for a provider's own API, through the gateway: `await client.get("graph/v1.0/me")`.

        It renews tokens, waits where `Retry-After` says so, and raises `errors.Denied` for what the gateway refuses.
        The provider's own answers pass, whatever their status.
        """
        question = self._core.question(
            target(provider, None), subject, scope, limits, connection=connection, message=message, task=task
        )
        base = httpx.URL(f"{self._core.issuer}/gateway/{provider}/")
        return self._client(Session(base, question, on_interaction or self._core.on_interaction), timeout)

    def client_for_audience(
        self,
        audience: str,
        base_url: str,
        *,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        task: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> httpx.AsyncClient:
        """An HTTP client for an internal back end at `base_url`, with delegation JWTs; without a user as the agent itself."""
        question = self._core.question(audience, subject, scope, task=task)
        return self._client(Session(httpx.URL(base_url.rstrip("/") + "/"), question, None), timeout)

    def _client(self, session: Session, timeout: float) -> httpx.AsyncClient:
        transport = _Transport(self._core, self._driver, session)
        return httpx.AsyncClient(transport=transport, base_url=session.base, timeout=timeout)

    def requires_grant(
        self,
        provider: str,
        *,
        subject: Subject | str | None = None,
        scope: Scopes = None,
        limits: Limits = None,
        message: str | None = None,
    ) -> Callable[[Callable[Concatenate[httpx.AsyncClient, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """The function runs only with the person's grant; its first argument becomes the provider's HTTP client.

        The grant is asked for when the function is called: `InteractionRequired` comes before its first line runs.
        """

        def decorate(function: Callable[Concatenate[httpx.AsyncClient, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(function)
            async def granted(*args: P.args, **kwargs: P.kwargs) -> R:
                await self.token(provider, subject=subject, scope=scope, limits=limits, message=message)
                client = self.client_for(provider, subject=subject, scope=scope, limits=limits, message=message)
                async with client:
                    return await function(client, *args, **kwargs)

            return granted

        return decorate


class _Transport(httpx.AsyncBaseTransport):
    """Sends with the session's token. Closing it leaves the broker's connections open for others."""

    def __init__(self, core: Core, driver: AsyncDriver, session: Session) -> None:
        self._core = core
        self._driver = driver
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _trace.span("valetkey call") as span:
            span.note(audience=self._session.question.audience, method=request.method)
            try:
                response = await self._driver.run(self._core.call(request, self._session))
            except errors.Denied as denied:
                span.note(decision="deny", event=denied.event)
                span.status(denied.status)
                raise
            span.note(event=response.headers.get("x-valetkey-event"))
            span.status(response.status_code)
            return response
