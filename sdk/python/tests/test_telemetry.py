"""Spans, and the trace context that goes along."""

from __future__ import annotations

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from conftest import Agent, Broker, denial, token
from valetkey import errors

EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(made)


def test_calls_are_spans_and_the_broker_learns_their_trace(agent: Agent, broker: Broker) -> None:
    EXPORTER.clear()
    broker.answers("/oauth2/token", token("vkg_secret"))
    ok = httpx.Response(200, headers={"X-Valetkey-Event": "evt_2"})
    broker.answers("/gateway/entra/graph/v1.0/me", ok, denial("insufficient_scope"))
    http = agent.client.client_for("entra")
    with trace.get_tracer("test").start_as_current_span("job") as job:
        agent.calls(http, "GET", "graph/v1.0/me")
        with pytest.raises(errors.InsufficientScope):
            agent.calls(http, "GET", "graph/v1.0/me")
    trace_id = f"{job.get_span_context().trace_id:032x}"
    assert all(request.headers["traceparent"].split("-")[1] == trace_id for request in broker.seen)
    spans = {(span.name, span.attributes["valetkey.event"]): span for span in EXPORTER.get_finished_spans()[:-1]}
    permitted, denied = spans[("valetkey call", "evt_2")], spans[("valetkey call", "evt_9")]
    assert permitted.attributes["http.response.status_code"] == 200
    assert (denied.attributes["valetkey.decision"], denied.status.is_ok) == ("deny", False)
    assert "vkg_secret" not in "".join(span.to_json() for span in EXPORTER.get_finished_spans())
