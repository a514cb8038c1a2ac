/** The package against a real broker: `valetkey demo`, whose `--info` file `VALETKEY_DEMO_INFO` names. */

import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as valetkey from "../src/index.js";
import { agrees } from "./person.js";

interface Info {
  issuer: string;
  sandbox: string;
  backend: string;
  admin: { token: string };
  users: { email: string; password: string; id_token: string }[];
  agents: Record<string, { id: string; secret: string }>;
}

const [ALICE, BOB] = ["alice@example.com", "bob@example.com"];
const MESSAGES = "graph/v1.0/me/messages";
const PEOPLE = "https://people.example.com";
const info = JSON.parse(readFileSync(process.env["VALETKEY_DEMO_INFO"] ?? "", "utf8")) as Info;

function who(email: string): Info["users"][number] {
  const found = info.users.find((user) => user.email === email);
  assert.ok(found);
  return found;
}

function agent(kind: string, options: valetkey.Options = {}): valetkey.Valetkey {
  const its = info.agents[kind];
  assert.ok(its);
  const environment = { VALETKEY_ISSUER: info.issuer, VALETKEY_CLIENT_ID: its.id, VALETKEY_CLIENT_SECRET: its.secret };
  return new valetkey.Valetkey({ environment, ...options });
}

async function admin(method: string, path: string, body: unknown): Promise<void> {
  const headers = { Authorization: `Bearer ${info.admin.token}`, "Content-Type": "application/json" };
  const answer = await fetch(`${info.issuer}/api/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, await answer.text());
}

async function sandbox(path: string, body: unknown): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${info.sandbox}/_sandbox/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok);
}

test("a personal agent asks its owner and reads their mail", async () => {
  const mine = agent("personal", { subject: ALICE });
  const error = await mine.token("entra", { scope: "Mail.Read", message: "Plan the week" }).catch((error: unknown) => error);
  assert.ok(error instanceof valetkey.InteractionRequired, String(error));
  await agrees(error.interaction, who(ALICE));
  const mail = mine.clientFor("entra", { scope: "Mail.Read" });
  const page = await mail.json<{ value: unknown[]; "@odata.nextLink": string }>(`${MESSAGES}?$top=2`);
  assert.equal(page.value.length, 2);
  assert.equal((await mail.fetch(page["@odata.nextLink"])).status, 200, "links to further pages lead to the gateway");
  const denied = await mail.fetch("graph/v1.0/me/events").catch((error: unknown) => error);
  assert.ok(denied instanceof valetkey.InsufficientScope && denied.event && denied.interaction);
  await mine.revoke(await mine.token("entra", { scope: "Mail.Read" }));
});

test("an assistant waits for the person that it tells, once", async () => {
  const told: valetkey.Interaction[] = [];
  const assistant = agent("assistant", {
    subject: valetkey.idToken(() => who(BOB).id_token),
    onInteraction: async (asked) => {
      told.push(asked);
      await agrees(asked, who(BOB));
    },
  });
  const name = assistant.requiresGrant("okta", { scope: "okta.users.read.self" }, async (okta) => {
    const me = await okta.json<{ profile: { email: string } }>("mgmt/api/v1/users/me");
    return me.profile.email;
  });
  assert.deepEqual(await Promise.all([name(), name(), name()]), [BOB, BOB, BOB]);
  assert.equal(told.length, 1);
});

test("asking ahead is answered at once where everything is granted", async () => {
  const mine = agent("personal", { subject: ALICE });
  const asked = await mine.ask("dingtalk", { scope: "Calendar.Event.Read" });
  assert.match(asked.uri ?? "", /\/i\/int_/);
  await agrees(asked, who(ALICE));
  const again = await mine.ask("dingtalk", { scope: "Calendar.Event.Read" });
  assert.equal(again.uri, undefined);
  assert.deepEqual((await mine.wait(again)).scope, ["Calendar.Event.Read"]);
});

test("limits narrow a token, and a busy vendor is asked again", async () => {
  const mine = agent("personal", { subject: ALICE, patience: 2 });
  const limits = [{ kind: "calls", most: 1, per: "day" }];
  const once = mine.clientFor("entra", { scope: "Mail.Read", limits });
  assert.equal((await once.fetch(MESSAGES)).status, 200);
  const error = await once.fetch(MESSAGES).catch((error: unknown) => error);
  assert.ok(error instanceof valetkey.LimitExceeded && error.status === 429 && (error.retryAfter ?? 0) > 0);
  await sandbox("entra/faults", { endpoint: "api", kind: "rate_limit", value: 1, count: 1 });
  assert.equal((await mine.clientFor("entra", { scope: "Mail.Read" }).fetch(MESSAGES)).status, 200);
});

test("an internal back end filters by whom the agent acts for", async () => {
  const bob = valetkey.idToken(who(BOB).id_token);
  const people = agent("assistant").clientForAudience(PEOPLE, info.backend, { subject: bob, scope: "leave.read" });
  const leave = await (await people.fetch("leave")).text();
  assert.ok(leave.includes(BOB) && !leave.includes(ALICE), leave);
  assert.equal((await people.fetch("salary")).status, 403);
  assert.equal((await agent("autonomous").clientForAudience(PEOPLE, info.backend).fetch("headcount")).status, 200);
});

test("an agent sends another one for its user", async () => {
  const parent = agent("assistant", { subject: valetkey.idToken(who(ALICE).id_token) });
  const subAgent = agent("personal");
  const sent = await parent.tokenForAgent(subAgent.clientId, { scope: "leave.read" });
  const subject = valetkey.sentBy(sent.accessToken);
  const people = subAgent.clientForAudience(PEOPLE, info.backend, { subject });
  const leave = await (await people.fetch("leave")).text();
  assert.ok(leave.includes(ALICE) && !leave.includes(BOB), leave);
  assert.equal((await people.fetch("salary")).status, 403, "no more than it was sent with");
});

test("a key of its own stands in for a secret", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "sdk-typescript", alg: "ES256", use: "sig" };
  await admin("PUT", `agents/${info.agents["autonomous"]?.id}/sign-in`, { keys: { jwks: { keys: [jwk] } } });
  const own = (key: KeyObject) =>
    valetkey.credentials.privateKeyJwt(key.export({ type: "pkcs8", format: "pem" }).toString(), { keyId: "sdk-typescript" });
  const token = await agent("autonomous", { credentials: own(privateKey) }).tokenForAudience(PEOPLE);
  assert.equal(token.accessToken.split(".").length, 3);
  const other = own(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
  await assert.rejects(agent("autonomous", { credentials: other }).tokenForAudience(PEOPLE), valetkey.InvalidClient);
});

test("tokens that are bound to a key work with it alone", async () => {
  const [scope, me] = ["okta.users.read.self", "mgmt/api/v1/users/me"];
  const asked = await agent("personal", { subject: ALICE }).ask("okta", { scope });
  if (asked.uri) await agrees(asked, who(ALICE));
  const mine = agent("personal", { subject: ALICE, dpop: true });
  const okta = mine.clientFor("okta", { scope });
  for (const _ of [1, 2, 3]) assert.equal((await okta.fetch(me)).status, 200);
  const token = await mine.token("okta", { scope });
  assert.equal(token.tokenType, "DPoP");
  const stolen = { headers: { Authorization: `Bearer ${token.accessToken}` } };
  assert.equal((await fetch(`${info.issuer}/gateway/okta/${me}`, stolen)).status, 401);
  const leave = await mine.clientForAudience(PEOPLE, info.backend, { scope: "leave.read" }).fetch("leave");
  assert.ok((await leave.text()).includes(ALICE));
});

test("an agent whose tokens must be bound gets none without a key", async () => {
  const path = `agents/${info.agents["autonomous"]?.id}`;
  await admin("PATCH", path, { sender_constrained: true });
  try {
    await assert.rejects(agent("autonomous").tokenForAudience(PEOPLE), valetkey.InvalidProof);
    const dpop = valetkey.DpopKey.generate();
    assert.ok((await agent("autonomous", { dpop }).tokenForAudience(PEOPLE)).isBoundToKey);
  } finally {
    await admin("PATCH", path, { sender_constrained: false });
  }
});

test("refusals are typed", async () => {
  const mine = agent("personal", { subject: ALICE });
  await assert.rejects(mine.token("entra", { subject: BOB }), valetkey.InvalidRequest);
  await assert.rejects(mine.token("entra", { scope: "No.Such" }), valetkey.InvalidScope);
  await assert.rejects(mine.token("nowhere"), valetkey.InvalidTarget);
  const wrong = agent("personal", { subject: ALICE, clientSecret: "vks_wrong" });
  await assert.rejects(wrong.token("entra"), valetkey.InvalidClient);
  await assert.rejects(agent("autonomous", { subject: ALICE }).token("entra"), valetkey.UnauthorizedClient);
});

test("a token that ended at the broker is renewed", async () => {
  // Last: it moves the clock of the broker and of the vendors.
  const mine = agent("personal", { subject: ALICE });
  const mail = mine.clientFor("entra", { scope: "Mail.Read" });
  assert.equal((await mail.fetch(MESSAGES)).status, 200);
  const first = await mine.token("entra", { scope: "Mail.Read" });
  await sandbox("clock", { advance_s: 400 });
  assert.equal((await mail.fetch(MESSAGES)).status, 200);
  assert.notEqual((await mine.token("entra", { scope: "Mail.Read" })).accessToken, first.accessToken);
});
