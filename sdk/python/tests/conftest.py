"""A broker made of rules, and an agent that is asked in both ways: blocking and asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from valetkey import AsyncValetkey, Valetkey

ISSUER = "https://valetkey.example.com"
ALICE = "alice@example.com"


Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Broker:
    """Answers in the order in which answers were laid ready, per path; keeps what it was sent."""

    def __init__(self) -> None:
        self.ready: dict[str, list[Answer]] = {}
        self.seen: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.authorized: list[tuple[str, str]] = []

    def answers(self, path: str, *responses: Answer) -> None:
        self.ready.setdefault(path, []).extend(responses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        self.bodies.append(request.read() if isinstance(request.stream, httpx.ByteStream) else b"")
        # A request that is sent again is the same object with another token.
        self.authorized.append((request.url.path, request.headers.get("authorization", "")))
        waiting = self.ready.get(request.url.path)
        assert waiting, f"nothing is ready for {request.url.path}"
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def forms(self, path: str = "/oauth2/token") -> list[dict[str, str]]:
        found = zip(self.seen, self.bodies, strict=True)
        return [dict(parse_qsl(body.decode())) for request, body in found if request.url.path == path]

    def authorizations(self, path: str) -> list[str]:
        return [authorization for at, authorization in self.authorized if at == path]


def token(text: str = "vkg_one", life: int = 300, **more: Any) -> httpx.Response:
    body = {
        "access_token": text,
        "issued_token_type": "urn:valetkey:token-type:gateway",
        "token_type": "Bearer",
        "expires_in": life,
        "scope": "Mail.Read",
        "gateway": f"{ISSUER}/gateway/entra",
        "grant_id": "gnt_1",
        "authorization_details": [],
    }
    return httpx.Response(200, json=body | more, headers={"X-Valetkey-Event": "evt_1"})


def refusal(code: str, status: int = 400, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    body = {"error": code, "error_description": f"because of {code}"}
    return httpx.Response(status, json=body | more, headers=headers)


QUESTION = {
    "interaction": "consent",
    "interaction_uri": f"{ISSUER}/i/int_1",
    "auth_req_id": "vkr_handle",
    "expires_in": 86400,
    "interval": 5,
}


def denial(code: str, status: int = 403, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    ours = {"X-Valetkey-Decision": "deny", "X-Valetkey-Event": "evt_9"}
    return refusal(code, status, ours | (headers or {}), **more)


class Agent:
    """The client under test; its methods can be called the same way whichever client it is."""

    def __init__(self, is_async: bool, broker: Broker) -> None:
        self.is_async = is_async
        self.broker = broker
        self.loop = asyncio.new_event_loop()
        self.now = 1000.0
        self.pauses: list[float] = []

    def connect(self, **given: Any) -> Agent:
        kind = AsyncValetkey if self.is_async else Valetkey
        defaults = {
            "issuer": ISSUER,
            "client_id": "agt_1",
            "client_secret": "vks_secret",
            "subject": ALICE,
            "environ": {},
        }
        if "credentials" in given:
            del defaults["client_secret"]
        self.client: Any = kind(transport=httpx.MockTransport(self.broker), **{**defaults, **given})
        self.client._core.clock = lambda: self.now
        self.client._driver.sleep = self._sleeps if not self.is_async else self._sleeps_async
        return self

    def _sleeps(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def _sleeps_async(self, seconds: float) -> None:
        self._sleeps(seconds)

    def done(self, value: Any) -> Any:
        return self.loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def token(self, *args: Any, **kwargs: Any) -> Any:
        return self.done(self.client.token(*args, **kwargs))

    def does(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.done(getattr(self.client, name)(*args, **kwargs))

    def calls(self, http: Any, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return self.done(http.request(method, path, **kwargs))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture(params=["sync", "async"])
def agent(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Agent]:
    made = Agent(request.param == "async", broker)
    yield made.connect()
    made.loop.close()
