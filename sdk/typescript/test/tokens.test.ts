/** Asking for tokens: what is sent, what is kept, who is waited for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import * as valetkey from "../src/index.js";
import { MOST_KEPT, TokenCache } from "../src/token.js";
import { ALICE, Broker, ISSUER, QUESTION, json, refusal, token } from "./broker.js";

test("an exchange names the user and what is asked", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  const limits = [{ kind: "calls", most: 10, per: "hour" }];
  const found = await broker.agent().token("entra", { scope: "User.Read Mail.Read", limits, message: "plan", task: "t1" });
  assert.equal(found.accessToken, "vkg_one");
  assert.deepEqual([found.scope, found.grantId, found.event], [["Mail.Read"], "gnt_1", "evt_1"]);
  assert.deepEqual(broker.forms()[0], {
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token: ALICE,
    subject_token_type: "urn:valetkey:token-type:user",
    audience: "provider:entra",
    scope: "Mail.Read User.Read",
    authorization_details: '[{"type":"valetkey_limit","kind":"calls","most":10,"per":"hour"}]',
    task: "t1",
    binding_message: "plan",
    client_id: "agt_1",
    client_secret: "vks_secret",
  });
});

test("a token is kept for the same question until shortly before its end", async () => {
  const broker = new Broker();
  const agent = broker.agent();
  broker.answers("/oauth2/token", token("vkg_one"), token("vkg_two"), token("vkg_three"));
  const text = async (scope: string | string[]) => (await agent.token("entra", { scope })).accessToken;
  assert.equal(await text(["a", "b"]), "vkg_one");
  broker.time += 269_000;
  assert.equal(await text("b a"), "vkg_one", "the order makes no difference");
  assert.equal(await text("a"), "vkg_two", "another question");
  broker.time += 2_000;
  assert.equal(await text("a b"), "vkg_three", "renewed before its end");
});

test("tokens of two people are never mixed up", async () => {
  const broker = new Broker();
  const agent = broker.agent();
  broker.answers("/oauth2/token", token("vkg_alice"), token("vkg_bob"));
  const [alice, bob] = [valetkey.idToken("token-of-alice"), valetkey.idToken("token-of-bob")];
  await agent.actingFor(alice, async () => {
    assert.equal((await agent.token("entra")).accessToken, "vkg_alice");
    await agent.actingFor(bob, async () => assert.equal((await agent.token("entra")).accessToken, "vkg_bob"));
    assert.equal((await agent.token("entra")).accessToken, "vkg_alice");
  });
  assert.equal((await agent.token("entra", { subject: bob })).accessToken, "vkg_bob");
  assert.deepEqual(broker.forms().map((form) => form["subject_token"]), ["token-of-alice", "token-of-bob"]);
});

test("a fresh ID token is fetched for each renewal", async () => {
  const broker = new Broker();
  const agent = broker.agent();
  broker.answers("/oauth2/token", token(), token());
  const fresh = ["first", "second"];
  const subject = valetkey.idToken(async () => fresh.shift() ?? "");
  await agent.token("entra", { subject });
  broker.time += 300_000;
  await agent.token("entra", { subject });
  assert.deepEqual(broker.forms().map((form) => form["subject_token"]), ["first", "second"]);
});

test("a person is an error with a page where nobody listens", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION));
  const error = await broker.agent().token("entra").catch((error: unknown) => error);
  assert.ok(error instanceof valetkey.InteractionRequired);
  assert.deepEqual([error.interaction.uri, error.interaction.interval], [`${ISSUER}/i/int_1`, 5]);
  assert.ok(error.message.includes(`${ISSUER}/i/int_1`));
  assert.ok(!(inspect(error, { depth: 9 }) + JSON.stringify(error)).includes("vkr_handle"));
});

test("a person is told once and waited for, at the broker's pace", async () => {
  const broker = new Broker();
  const told: unknown[] = [];
  const agent = broker.agent({ onInteraction: (asked) => told.push(asked.uri) });
  broker.answers(
    "/oauth2/token",
    refusal("interaction_required", QUESTION),
    refusal("authorization_pending"),
    refusal("slow_down"),
    new TypeError("the broker is being updated"),
    refusal("temporarily_unavailable", { status: 503, headers: { "Retry-After": "2" } }),
    token("vkg_agreed"),
  );
  const found = await Promise.all([1, 2, 3].map(() => agent.token("entra")));
  assert.deepEqual(found.map((one) => one.accessToken), ["vkg_agreed", "vkg_agreed", "vkg_agreed"]);
  assert.deepEqual([told, broker.pauses], [[`${ISSUER}/i/int_1`], [5, 5, 10, 0.5, 2]]);
  assert.equal((await agent.token("entra")).accessToken, "vkg_agreed", "it is kept");
  assert.equal(broker.forms()[1]?.["auth_req_id"], "vkr_handle");
});

test("waiting ends when time is up, when the person refuses, and when another process was faster", async () => {
  const broker = new Broker();
  const agent = broker.agent({ waitFor: 17, onInteraction: () => undefined });
  const pending = [1, 2, 3].map(() => refusal("authorization_pending"));
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION), ...pending);
  await assert.rejects(agent.token("entra"), valetkey.InteractionRequired);
  assert.deepEqual(broker.pauses, [5, 5, 5]);
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION), refusal("access_denied"));
  await assert.rejects(agent.token("entra"), valetkey.AccessDenied);
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION), refusal("invalid_grant"), token("vkg_again"));
  assert.equal((await agent.token("entra")).accessToken, "vkg_again");
});

test("each refusal has its type", async () => {
  for (const [code, Kind] of [
    ["invalid_request", valetkey.InvalidRequest],
    ["invalid_client", valetkey.InvalidClient],
    ["invalid_scope", valetkey.InvalidScope],
    ["invalid_target", valetkey.InvalidTarget],
    ["unauthorized_client", valetkey.UnauthorizedClient],
    ["invalid_authorization_details", valetkey.InvalidAuthorizationDetails],
    ["access_denied", valetkey.AccessDenied],
    ["something_new", valetkey.OAuthError],
  ] as const) {
    const broker = new Broker();
    broker.answers("/oauth2/token", refusal(code, { headers: { "X-Valetkey-Event": "evt_7" } }));
    const error = await broker.agent().token("entra").catch((error: unknown) => error);
    assert.ok(error instanceof valetkey.OAuthError);
    assert.equal(error.constructor, Kind);
    assert.deepEqual([error.code, error.event, broker.pauses], [code, "evt_7", []]);
  }
});

test("a busy broker is asked again when it says so, within the patience", async () => {
  const broker = new Broker();
  broker.answers(
    "/oauth2/token",
    refusal("temporarily_unavailable", { status: 503, headers: { "Retry-After": "7" } }),
    refusal("slow_down", { status: 429, headers: { "Retry-After": "3" } }),
    token(),
    refusal("temporarily_unavailable", { status: 503, headers: { "Retry-After": "61" } }),
  );
  const agent = broker.agent();
  await agent.token("entra");
  await assert.rejects(agent.token("lark"), valetkey.TemporarilyUnavailable);
  assert.deepEqual(broker.pauses, [7, 3]);
});

test("a broker that never answers, or something else that does, is given up", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", ...Array.from({ length: 7 }, () => new TypeError("no")));
  await assert.rejects(broker.agent().token("entra"), valetkey.Unreachable);
  assert.deepEqual(broker.pauses, [0.5, 1, 2, 4, 8, 16]);
  broker.answers("/oauth2/token", new Response("<html>a proxy's page</html>"));
  await assert.rejects(broker.agent().token("entra"), valetkey.Unreachable);
});

test("an internal back end is asked for by its name", async () => {
  const broker = new Broker();
  const agent = new valetkey.Valetkey({ issuer: ISSUER, clientId: "agt_1", clientSecret: "x", world: { fetch: broker.fetch } });
  broker.answers("/oauth2/token", token("a.b.c"), token("d.e.f"));
  await agent.tokenForAudience("https://people.example.com");
  await agent.tokenForAudience("https://people.example.com", { subject: valetkey.sentBy("parent.token") });
  const [itself, forUser] = broker.forms();
  assert.deepEqual([itself?.["grant_type"], itself?.["audience"]], ["client_credentials", "https://people.example.com"]);
  assert.equal(forUser?.["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
  await assert.rejects(async () => agent.token("entra"), /name the user/);
});

test("an agent sends another one for its user", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token("one.b.c"), token("two.b.c"));
  const agent = broker.agent();
  const ask = { scope: "salary.read leave.read", task: "t1" };
  assert.equal((await agent.tokenForAgent("agt_2", ask)).accessToken, "one.b.c");
  assert.equal((await agent.tokenForAgent("agt_2", ask)).accessToken, "two.b.c", "each has its whole life before it");
  const form = broker.forms()[0];
  assert.deepEqual([form?.["audience"], form?.["may_act"], form?.["subject_token"]], [ISSUER, "agt_2", ALICE]);
  assert.deepEqual([form?.["scope"], form?.["task"]], ["leave.read salary.read", "t1"]);
  const nobody = new valetkey.Valetkey({ issuer: ISSUER, clientId: "agt_1", clientSecret: "x", environment: {} });
  await assert.rejects(nobody.tokenForAgent("agt_2", ask), /name the user/);
});

test("asking ahead, collecting later, giving back", async () => {
  const broker = new Broker();
  const agent = broker.agent();
  const standing = { auth_req_id: "vkr_standing", expires_in: 600, interval: 5 };
  broker.answers("/oauth2/bc-authorize", json(200, QUESTION), json(200, standing));
  assert.equal((await agent.ask("entra", { scope: "Mail.Read" })).uri, `${ISSUER}/i/int_1`);
  assert.equal(broker.forms("/oauth2/bc-authorize")[0]?.["grant_type"], undefined);
  broker.answers("/oauth2/token", token("vkg_now"));
  const found = await agent.wait(await agent.ask("entra", { scope: "Mail.Read" }));
  assert.deepEqual([found.accessToken, broker.pauses], ["vkg_now", []]);
  broker.answers("/oauth2/revoke", new Response(null, { status: 200 }));
  await agent.revoke(found);
  assert.equal(broker.forms("/oauth2/revoke")[0]?.["token"], "vkg_now");
});

test("nothing that can be printed holds a secret", async () => {
  const broker = new Broker();
  const agent = broker.agent();
  broker.answers("/oauth2/token", token("vkg_hidden"), refusal("invalid_client", { status: 401 }));
  const found = await agent.token("entra", { subject: valetkey.idToken("eyJ.hidden") });
  const error = await agent.token("lark").catch((error: unknown) => error);
  for (const value of [agent, found, valetkey.idToken("eyJ.hidden"), error]) {
    const shown = inspect(value, { depth: 9, showHidden: true }) + JSON.stringify(value);
    assert.ok(!/hidden|vks_secret/.test(shown), shown);
  }
});

test("the cache forgets the oldest first", () => {
  const cache = new TokenCache();
  const made = new valetkey.Token({ accessToken: "t", now: 0, expiresIn: 300, scope: "", issuedTokenType: "x" });
  for (let number = 0; number <= MOST_KEPT; number++) {
    cache.put(String(number), made);
    cache.get("0", 0);
  }
  assert.equal(cache.get("0", 0), made);
  assert.equal(cache.get("1", 0), undefined);
});
