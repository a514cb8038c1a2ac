"""What has to be done, apart from how: generators yield steps, and a sync or an async driver performs them.

One implementation of the protocol serves both clients.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import httpx

from .interaction import Interaction

T = TypeVar("T")

METADATA_TIMEOUT_S = 3.0


@dataclass
class Send:
    """Sends a request; the answer's body is read unless it is `streamed`."""

    request: httpx.Request
    streamed: bool = False
    direct: bool = False
    """To this machine's own surroundings (cloud metadata): never through a proxy."""


@dataclass
class Read:
    """Reads the body of an answer that was streamed."""

    response: httpx.Response


@dataclass
class Close:
    """Lets go of an answer."""

    response: httpx.Response


@dataclass
class Pause:
    """Waits."""

    seconds: float


@dataclass
class Tell:
    """Tells the application about a question to a person."""

    callback: Callable[[Interaction], Any]
    interaction: Interaction


@dataclass
class Alone:
    """Runs a flow while no other one runs for the same key."""

    key: object
    flow: Callable[[], Flow[Any]]


Step: TypeAlias = Send | Read | Close | Pause | Tell | Alone
Flow: TypeAlias = Generator[Step, Any, T]


class _Lock:
    """A lock that can be referred to weakly: those that nobody waits for go away."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class _AsyncLock:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()


class SyncDriver:
    """Performs steps by blocking."""

    def __init__(self, transport: httpx.BaseTransport, direct: httpx.BaseTransport) -> None:
        self.transport = transport
        self.direct = direct
        self.sleep: Callable[[float], None] = time.sleep
        self._locks: WeakValueDictionary[object, _Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def run(self, flow: Flow[T]) -> T:
        """The flow's value, or what it raised."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what becomes of it
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            # Interrupted between two steps: the flow lets go of what it holds.
            flow.close()

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._send(step)
        if isinstance(step, Read):
            return step.response.read()
        if isinstance(step, Close):
            return step.response.close()
        if isinstance(step, Pause):
            return self.sleep(step.seconds)
        if isinstance(step, Tell):
            return step.callback(step.interaction)
        with self._guard:
            held = self._locks.setdefault(step.key, _Lock())
        with held.lock:
            return self.run(step.flow())

    def _send(self, step: Send) -> httpx.Response:
        transport = self.direct if step.direct else self.transport
        response = transport.handle_request(step.request)
        response.request = step.request
        if not step.streamed:
            try:
                response.read()
            finally:
                response.close()
        return response

    def close(self) -> None:
        """Closes the connections."""
        self.transport.close()
        self.direct.close()


class AsyncDriver:
    """Performs steps by awaiting."""

    def __init__(self, transport: httpx.AsyncBaseTransport, direct: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.direct = direct
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._locks: WeakValueDictionary[object, _AsyncLock] = WeakValueDictionary()

    async def run(self, flow: Flow[T]) -> T:
        """The flow's value, or what it raised."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what becomes of it
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            # Cancelled between two steps: the flow lets go of what it holds.
            flow.close()

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step)
        if isinstance(step, Read):
            return await step.response.aread()
        if isinstance(step, Close):
            return await step.response.aclose()
        if isinstance(step, Pause):
            return await self.sleep(step.seconds)
        if isinstance(step, Tell):
            told = step.callback(step.interaction)
            return await told if inspect.isawaitable(told) else told
        held = self._locks.setdefault(step.key, _AsyncLock())
        async with held.lock:
            return await self.run(step.flow())

    async def _send(self, step: Send) -> httpx.Response:
        transport = self.direct if step.direct else self.transport
        response = await transport.handle_async_request(step.request)
        response.request = step.request
        if not step.streamed:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    async def close(self) -> None:
        """Closes the connections."""
        await self.transport.aclose()
        await self.direct.aclose()


def request(
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    data: dict[str, str] | None = None,
    timeout: float,
) -> httpx.Request:
    """A request with its own time limit."""
    limits = httpx.Timeout(timeout).as_dict()
    return httpx.Request(method, url, headers=headers, data=data, extensions={"timeout": limits})
