// panva's openid-client as an agent of the broker, and jose as an internal back end.
//
// Runs after the Authlib suite at the same demo: Alice has granted her personal agent Lark by then.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import * as jose from "jose";
import * as client from "openid-client";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token";
const USER = "urn:valetkey:token-type:user";
const GATEWAY = "urn:valetkey:token-type:gateway";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const PEOPLE = "https://people.example.com";
const [ALICE, BOB] = ["alice@example.com", "bob@example.com"];

const info = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tests = [];
const test = (name, run) => tests.push([name, run]);

/** An agent that is nothing but an openid-client configuration, made from the broker's metadata. */
async function agent(kind, authentication = client.ClientSecretBasic) {
  const { id, secret } = info.agents[kind];
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  return client.discovery(new URL(info.issuer), id, {}, authentication(secret), options);
}

const idToken = (email) => info.users.find((user) => user.email === email).id_token;

/** The error of a request that has to be refused. */
async function refused(request, code) {
  const error = await request.then(
    () => assert.fail("was not refused"),
    (error) => error,
  );
  assert.equal(error.error, code, String(error));
  return error;
}

/** As a back end checks a delegation JWT: by the published keys, its own name, and the type. */
function verified(token, audience = PEOPLE) {
  const keys = jose.createRemoteJWKSet(new URL(`${info.issuer}/.well-known/jwks.json`));
  return jose.jwtVerify(token, keys, { issuer: info.issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "jti"] });
}

test("the metadata is discovered", async () => {
  const metadata = (await agent("personal")).serverMetadata();
  assert.equal(metadata.issuer, info.issuer);
  assert.ok(metadata.supportsPKCE !== undefined && metadata.grant_types_supported.includes(EXCHANGE));
});

test("token exchange gives a gateway token that works", async () => {
  const personal = await agent("personal", client.ClientSecretPost);
  const token = await client.genericGrantRequest(personal, EXCHANGE, {
    subject_token: ALICE,
    subject_token_type: USER,
    audience: "provider:lark",
    scope: "space:document:retrieve",
  });
  assert.deepEqual([token.issued_token_type, token.scope], [GATEWAY, "space:document:retrieve"]);
  const url = new URL(`${token.gateway}/open/open-apis/drive/v1/files`);
  const files = await client.fetchProtectedResource(personal, token.access_token, url, "GET");
  assert.equal(files.status, 200);
  const shown = await client.tokenIntrospection(personal, token.access_token);
  assert.deepEqual([shown.active, shown.scope], [true, "space:document:retrieve"]);
  await client.tokenRevocation(personal, token.access_token);
  assert.equal((await client.tokenIntrospection(personal, token.access_token)).active, false);
});

test("what a person has to agree to is interaction_required, with the page", async () => {
  const personal = await agent("personal");
  const asked = { subject_token: ALICE, subject_token_type: USER, audience: "provider:okta" };
  const error = await refused(client.genericGrantRequest(personal, EXCHANGE, asked), "interaction_required");
  assert.match(error.cause.interaction_uri, /\/i\/int_/);
});

test("asking ahead in CIBA's form polls to the token", async () => {
  const personal = await agent("personal");
  const asked = { subject_token: ALICE, subject_token_type: USER, audience: "provider:lark", scope: "im:chat:read" };
  const answer = await client.initiateBackchannelAuthentication(personal, asked);
  assert.ok(answer.auth_req_id && answer.expires_in > 590 && answer.expires_in <= 600 && answer.interval === 5);
  const token = await client.pollBackchannelAuthenticationGrant(personal, answer);
  assert.equal(token.scope, "im:chat:read");
  const hinted = client.initiateBackchannelAuthentication(personal, { login_hint: ALICE, audience: "provider:lark" });
  await refused(hinted, "invalid_request");
});

test("a delegation JWT for a person is verified by jose", async () => {
  const assistant = await agent("assistant");
  const token = await client.genericGrantRequest(assistant, EXCHANGE, {
    subject_token: idToken(BOB),
    subject_token_type: ID_TOKEN,
    audience: PEOPLE,
    scope: "leave.read",
  });
  assert.equal(token.issued_token_type, ACCESS_TOKEN);
  const { payload, protectedHeader } = await verified(token.access_token);
  assert.deepEqual([protectedHeader.alg, protectedHeader.typ], ["EdDSA", "at+jwt"]);
  assert.equal(payload.aud, PEOPLE, "one audience, as text");
  assert.deepEqual(payload.act, { sub: info.agents.assistant.id });
  assert.deepEqual([payload.scope, payload.client_id, payload.email], ["leave.read", info.agents.assistant.id, BOB]);
  await assert.rejects(verified(token.access_token, "https://other.example.com"), jose.errors.JWTClaimValidationFailed);
  const [header, body, signature] = token.access_token.split(".");
  const forged = Buffer.from(JSON.stringify({ ...payload, email: ALICE })).toString("base64url");
  await assert.rejects(verified(`${header}.${forged}.${signature}`), jose.errors.JWSSignatureVerificationFailed);
  assert.ok(body);
  const answer = await fetch(`${info.backend}/leave`, { headers: { Authorization: `Bearer ${token.access_token}` } });
  assert.equal(answer.status, 200);
});

test("client credentials give an autonomous agent a JWT of its own", async () => {
  const autonomous = await agent("autonomous");
  const token = await client.clientCredentialsGrant(autonomous, { audience: PEOPLE });
  const { payload } = await verified(token.access_token);
  assert.deepEqual([payload.sub, payload.act], [info.agents.autonomous.id, undefined]);
  await refused(client.clientCredentialsGrant(autonomous, { audience: "https://unknown.example.com" }), "invalid_target");
});

test("private_key_jwt proves who the agent is, with its issuer as the audience", async () => {
  const { privateKey, publicKey } = await jose.generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await jose.exportJWK(publicKey)), kid: "openid-client", alg: "ES256", use: "sig" };
  const id = info.agents.autonomous.id;
  const registered = await fetch(`${info.issuer}/api/v1/agents/${id}/sign-in`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${info.admin.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ keys: { jwks: { keys: [jwk] } } }),
  });
  assert.equal(registered.status, 200);
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  const own = client.PrivateKeyJwt({ key: privateKey, kid: "openid-client" });
  const config = await client.discovery(new URL(info.issuer), id, {}, own, options);
  const token = await client.clientCredentialsGrant(config, { audience: PEOPLE });
  assert.equal((await verified(token.access_token)).payload.sub, id);
  const other = await jose.generateKeyPair("ES256");
  const forged = client.PrivateKeyJwt({ key: other.privateKey, kid: "openid-client" });
  const wrong = await client.discovery(new URL(info.issuer), id, {}, forged, options);
  const error = await client.clientCredentialsGrant(wrong, { audience: PEOPLE }).catch((error) => error);
  assert.equal(error.status, 401);
});

test("a wrong secret is invalid_client", async () => {
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  const wrong = client.ClientSecretBasic("vks_wrong");
  const config = await client.discovery(new URL(info.issuer), info.agents.autonomous.id, {}, wrong, options);
  const error = await client.clientCredentialsGrant(config, { audience: PEOPLE }).catch((error) => error);
  assert.equal(error.status, 401);
});

let failed = 0;
for (const [name, run] of tests) {
  try {
    await run();
    console.log(`ok openid-client and jose: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED openid-client and jose: ${name}: ${String(error).replaceAll(/\s+/g, " ")}`);
  }
}
process.exit(failed ? 1 : 0);
