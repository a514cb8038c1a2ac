"""OpenTelemetry, where it is installed (`valetkey[otel]`): spans, and the trace context passed on."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import propagate, trace
except ImportError:  # the extra is not installed
    _tracer: Any = None
else:
    _tracer = trace.get_tracer("valetkey")


def inject(headers: MutableMapping[str, str]) -> None:
    """Adds `traceparent` for the span that is current."""
    if _tracer is not None:
        propagate.inject(headers)


class Span:
    """A span, or nothing."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, **attributes: str | int | None) -> None:
        """Sets attributes below `valetkey.`; never tokens."""
        if self._span is not None:
            for name, value in attributes.items():
                if value is not None:
                    self._span.set_attribute(f"valetkey.{name}", value)

    def status(self, code: int) -> None:
        """The HTTP status of a call."""
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", code)


@contextmanager
def span(name: str) -> Iterator[Span]:
    """A span around the block; an exception ends it as failed."""
    if _tracer is None:
        yield Span(None)
    else:
        with _tracer.start_as_current_span(name) as current:
            yield Span(current)
