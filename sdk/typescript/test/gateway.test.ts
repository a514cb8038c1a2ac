/** Calls through the gateway and to internal back ends. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as valetkey from "../src/index.js";
import { Broker, ISSUER, QUESTION, denial, json, refusal, token, type Seen } from "./broker.js";

const MAIL = "graph/v1.0/me/messages";
const AT = `/gateway/entra/${MAIL}`;

test("calls carry the token and answers pass", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  broker.answers(AT, json(200, { value: [] }), json(403, { error: "insufficient_scope" }));
  const mail = broker.agent({ trace: () => ({ traceparent: "00-1-2-01" }) }).clientFor("entra", { scope: "Mail.Read" });
  assert.deepEqual(await mail.json(`/${MAIL}?$top=1`), { value: [] });
  assert.equal((await mail.fetch(MAIL)).status, 403, "the vendor's own");
  assert.deepEqual(broker.authorizations(AT), ["Bearer vkg_one", "Bearer vkg_one"]);
  assert.equal(broker.seen[1]?.url.href, `${ISSUER}${AT}?$top=1`);
  assert.ok(broker.seen.every((seen) => seen.headers.get("traceparent") === "00-1-2-01"));
});

test("a token that has ended is renewed once", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token("vkg_old"), token("vkg_new"), token("vkg_third"));
  broker.answers(AT, denial("invalid_token", { status: 401 }), json(200, {}));
  const mail = broker.agent().clientFor("entra");
  assert.equal((await mail.fetch(MAIL, { method: "POST", body: '{"a":1}' })).status, 200);
  assert.deepEqual(broker.authorizations(AT), ["Bearer vkg_old", "Bearer vkg_new"]);
  assert.deepEqual([broker.seen[1]?.body, broker.seen[3]?.body], ['{"a":1}', '{"a":1}']);
  broker.answers(AT, denial("invalid_token", { status: 401 }), denial("invalid_token", { status: 401 }));
  await assert.rejects(mail.fetch(MAIL), valetkey.TokenRejected);
});

test("denials have types", async () => {
  const limit = { kind: "mail_folders", allowed: ["inbox"], asked: "archive" };
  for (const [code, status, Kind] of [
    ["insufficient_scope", 403, valetkey.InsufficientScope],
    ["route_not_allowed", 403, valetkey.RouteNotAllowed],
    ["limit_exceeded", 403, valetkey.LimitExceeded],
    ["interaction_required", 403, valetkey.RepairNeeded],
    ["invalid_request", 400, valetkey.AmbiguousCall],
    ["upstream_error", 502, valetkey.UpstreamFailed],
  ] as const) {
    const broker = new Broker();
    broker.answers("/oauth2/token", token());
    broker.answers(AT, denial(code, { status, limit, ...QUESTION }));
    const denied = await broker.agent().clientFor("entra").fetch(MAIL).catch((error: unknown) => error);
    assert.ok(denied instanceof valetkey.Denied);
    assert.equal(denied.constructor, Kind);
    assert.deepEqual([denied.status, denied.limit, denied.event], [status, limit, "evt_9"]);
    assert.equal(denied.interaction?.uri, `${ISSUER}/i/int_1`);
  }
});

test("a person who widens the grant lets the calls through, and is asked once", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token("vkg_narrow"), token("vkg_wide"), token("vkg_fresh"));
  const judged = (seen: Seen) =>
    seen.headers.get("authorization") === "Bearer vkg_narrow" ? denial("insufficient_scope", QUESTION) : json(202, {});
  broker.answers(AT, judged, judged, judged, judged, judged);
  const told: unknown[] = [];
  const mail = broker.agent({ onInteraction: (asked) => told.push(asked.uri) }).clientFor("entra");
  const answers = await Promise.all([1, 2].map(() => mail.fetch(MAIL, { method: "POST", body: "{}" })));
  assert.deepEqual(answers.map((answer) => answer.status), [202, 202]);
  assert.deepEqual(told, [`${ISSUER}/i/int_1`]);
  await mail.fetch(MAIL);
  assert.equal(broker.authorizations(AT).at(-1), "Bearer vkg_fresh");
});

test("a full budget is waited for within the patience", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  const date = new Date(Date.now() + 30_000).toUTCString();
  broker.answers(
    AT,
    denial("limit_exceeded", { status: 429, headers: { "Retry-After": "10" } }),
    json(429, {}, { "Retry-After": date }),
    json(503, {}),
    json(200, {}),
    denial("limit_exceeded", { status: 429, headers: { "Retry-After": "3600" } }),
  );
  const mail = broker.agent().clientFor("entra");
  assert.equal((await mail.fetch(MAIL)).status, 200);
  const [first, second, third] = broker.pauses;
  assert.ok(first === 10 && second !== undefined && second > 20 && second <= 30 && third === 4, String(broker.pauses));
  const error = await mail.fetch(MAIL).catch((error: unknown) => error);
  assert.ok(error instanceof valetkey.LimitExceeded && error.retryAfter === 3600);
});

test("what may have been done is not done twice", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  const later = { "Retry-After": "1" };
  broker.answers(AT, json(503, {}, later), denial("temporarily_unavailable", { status: 503, headers: later }), json(202, {}));
  const mail = broker.agent().clientFor("entra");
  assert.equal((await mail.fetch(MAIL, { method: "POST", body: "{}" })).status, 503, "the vendor may have sent it");
  assert.equal((await mail.fetch(MAIL, { method: "POST", body: "{}" })).status, 202, "the gateway has not");
  assert.deepEqual(broker.pauses, [1]);
});

test("a body that can be read once is sent once", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  broker.answers(AT, denial("invalid_token", { status: 401 }));
  const body = new Blob(["once"]).stream();
  const sent = broker.agent().clientFor("entra").fetch(MAIL, { method: "POST", body });
  await assert.rejects(sent, valetkey.TokenRejected);
});

test("the token goes nowhere else", async () => {
  const broker = new Broker();
  const mail = broker.agent().clientFor("entra");
  for (const url of [
    "https://elsewhere.example/gateway/entra/x",
    `${ISSUER}/gateway/lark/open/x`,
    `${ISSUER}/gateway/entra-evil/x`,
    `${ISSUER}:8443/gateway/entra/x`,
    "http://valetkey.example.com/gateway/entra/x",
    "../lark/open/x",
    "../../oauth2/token",
    "%2e%2e/lark/x",
    "\\\\elsewhere.example\\..\\..\\..\\..\\..\\..\\oauth2\\token",
  ]) {
    await assert.rejects(mail.fetch(url), valetkey.WrongAddress, url);
  }
  assert.deepEqual(broker.seen, []);
});

test("a back end has its own tokens, and a function runs with the grant or not at all", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token("a.b.c"), token("d.e.f"));
  broker.answers("/api/leave", json(401, {}), json(200, {}));
  const agent = broker.agent();
  const people = agent.clientForAudience("https://people.example.com", "https://people.example.com/api");
  assert.equal((await people.fetch("leave")).status, 200);
  assert.deepEqual(broker.authorizations("/api/leave"), ["Bearer a.b.c", "Bearer d.e.f"]);
  await assert.rejects(people.fetch("https://people.example.com/other"), valetkey.WrongAddress);

  const ran: number[] = [];
  const subjects = agent.requiresGrant("entra", { scope: "Mail.Read" }, async (mail, most: number) => {
    ran.push(most);
    return (await mail.fetch(`${MAIL}?$top=${most}`)).status;
  });
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION));
  await assert.rejects(subjects(3), valetkey.InteractionRequired);
  assert.deepEqual(ran, []);
  broker.answers("/oauth2/token", token());
  broker.answers(AT, json(200, {}));
  assert.equal(await subjects(4), 200);
});
