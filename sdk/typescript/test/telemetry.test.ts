/** Spans of OpenTelemetry, and the trace context that goes along. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

import * as valetkey from "../src/index.js";
import { Broker, denial, json, refusal, token } from "./broker.js";

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
context.setGlobalContextManager(new AsyncLocalStorageContextManager());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

function traceHeaders(): Record<string, string> {
  const carrier = {};
  propagation.inject(context.active(), carrier);
  return carrier;
}

test("tokens and calls are spans, and the broker learns their trace", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token("vkg_secret"), refusal("invalid_scope", { headers: { "X-Valetkey-Event": "evt_3" } }));
  const ok = json(200, {}, { "X-Valetkey-Event": "evt_2" });
  broker.answers("/gateway/entra/graph/v1.0/me", ok, denial("insufficient_scope"));
  const agent = broker.agent({ tracer: trace.getTracer("valetkey"), trace: traceHeaders });
  const mail = agent.clientFor("entra");
  const traceId = await trace.getTracer("test").startActiveSpan("job", async (job) => {
    await agent.token("entra");
    await mail.fetch("graph/v1.0/me");
    await assert.rejects(mail.fetch("graph/v1.0/me"), valetkey.InsufficientScope);
    await assert.rejects(agent.token("okta"), valetkey.InvalidScope);
    job.end();
    return job.spanContext().traceId;
  });
  for (const seen of broker.seen) assert.equal(seen.headers.get("traceparent")?.split("-")[1], traceId);

  const spans = exporter.getFinishedSpans();
  assert.deepEqual(
    spans.map((span) => span.name),
    ["valetkey token", "valetkey call", "valetkey call", "valetkey token", "job"],
  );
  const [asked, permitted, denied, refused] = spans;
  assert.deepEqual(asked?.attributes, {
    "valetkey.audience": "provider:entra",
    "valetkey.client_id": "agt_1",
    "valetkey.grant_id": "gnt_1",
    "valetkey.event": "evt_1",
  });
  assert.deepEqual(permitted?.attributes, {
    "valetkey.audience": "provider:entra",
    "valetkey.method": "GET",
    "valetkey.event": "evt_2",
    "http.response.status_code": 200,
  });
  assert.deepEqual(
    [denied?.attributes["valetkey.decision"], denied?.attributes["valetkey.event"], denied?.status.code],
    ["deny", "evt_9", 2],
  );
  assert.deepEqual([refused?.attributes["valetkey.event"], refused?.status.code], ["evt_3", 2]);
  const told = spans.map((span) => JSON.stringify([span.attributes, span.events, span.status]));
  assert.ok(!told.join().includes("vkg_secret") && !told.join().includes("vks_secret"));
});
