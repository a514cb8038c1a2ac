"""The asynchronous client."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import httpx

from ._core import TIMEOUT_S, Core, Session
from ._flow import AsyncDriver
from ._question import Asked, OnInteraction, Options, Scopes
from .interaction import Interaction
from .subject import Subject
from .token import Token

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")


class AsyncValetkey:
    """An agent's connection to the broker.

    What is left out comes from the environment: `VALETKEY_ISSUER`, `VALETKEY_CLIENT_ID`, and credentials as
    `credentials.discover` finds them. `Options` lists what can be given beside; a `transport` replaces the network.
    """

    def __init__(
        self,
        issuer: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[Options],
    ) -> None:
        core = self._core = Core(issuer, client_id, client_secret, **options)
        outward = transport or httpx.AsyncHTTPTransport(verify=core.verify, proxy=core.proxy)
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
        provider_token: bool = False,
        on_interaction: OnInteraction | None = None,
        **asked: Unpack[Asked],
    ) -> Token:
        """A token for a provider, or with `audience` for an internal back end. `Asked` lists what can be asked for."""
        question = self._core.question_for(provider, audience, provider_token=provider_token, **asked)
        return await self._driver.run(self._core.told_token(question, on_interaction))

    async def token_for_agent(
        self, agent: str, *, scope: Scopes, subject: Subject | str | None = None, task: str | None = None
    ) -> Token:
        """A token to give to a sub-agent, by its id: it acts for the same user, with these scopes at most.

        The sub-agent shows it with `sent_by`; nobody else can use it, and it opens nothing by itself.
        """
        return await self._driver.run(self._core.send(self._core.question_for_agent(agent, scope, subject, task)))

    async def ask(self, provider: str, **asked: Unpack[Asked]) -> Interaction:
        """Asks the person before the token is needed. Without a `uri` everything is granted already."""
        return await self._driver.run(self._core.ask(self._core.question_for(provider, **asked)))

    async def wait(self, interaction: Interaction, *, wait_for: float | None = None) -> Token:
        """Polls until the person has answered; the token comes once. `InteractionRequired` when time is up."""
        return await self._driver.run(self._core.wait_for_person(interaction, wait_for))

    async def revoke(self, token: Token) -> None:
        """Ends a token before its time."""
        await self._driver.run(self._core.revoke(token))

    def client_for(
        self,
        provider: str,
        *,
        on_interaction: OnInteraction | None = None,
        timeout: float = TIMEOUT_S,
        **asked: Unpack[Asked],
    ) -> httpx.AsyncClient:
        """An HTTP client for a provider's own API, through the gateway: `await client.get("graph/v1.0/me")`.

        It renews tokens, waits where `Retry-After` says so, and raises `errors.Denied` for what the gateway refuses.
        The provider's own answers pass, whatever their status.
        """
        return self._client(self._core.session(provider, on_interaction, **asked), timeout)

    def client_for_audience(
        self, audience: str, base_url: str, *, timeout: float = TIMEOUT_S, **asked: Unpack[Asked]
    ) -> httpx.AsyncClient:
        """An HTTP client for an internal back end at `base_url`, with delegation JWTs; without a user as the agent itself."""
        return self._client(self._core.back_end(audience, base_url, **asked), timeout)

    def _client(self, session: Session, timeout: float) -> httpx.AsyncClient:
        transport = _Transport(self._core, self._driver, session)
        return httpx.AsyncClient(transport=transport, base_url=session.base, timeout=timeout)

    def requires_grant(
        self, provider: str, **asked: Unpack[Asked]
    ) -> Callable[[Callable[Concatenate[httpx.AsyncClient, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """The function runs only with the person's grant; its first argument becomes the provider's HTTP client.

        The grant is asked for when the function is called: `InteractionRequired` comes before its first line runs.
        """

        def decorate(function: Callable[Concatenate[httpx.AsyncClient, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(function)
            async def granted(*args: P.args, **kwargs: P.kwargs) -> R:
                await self.token(provider, **asked)
                async with self.client_for(provider, **asked) as client:
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
        return await self._driver.run(self._core.told_call(request, self._session))
