// panva's openid-client as an agent whose tokens are bound to its key (DPoP, RFC 9449).
//
// Runs after the Authlib suite at the same demo: Alice has granted her personal agent Lark by then.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import * as jose from "jose";
import * as client from "openid-client";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const USER = "urn:valetkey:token-type:user";
const PEOPLE = "https://people.example.com";
const ALICE = "alice@example.com";

const info = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tests = [];
const test = (name, run) => tests.push([name, run]);

/** An agent with a fresh key of that algorithm. */
async function holder(kind, algorithm) {
  const { id, secret } = info.agents[kind];
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  const config = await client.discovery(new URL(info.issuer), id, {}, client.ClientSecretBasic(secret), options);
  const keys = await client.randomDPoPKeyPair(algorithm, { extractable: true });
  const thumbprint = await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey));
  return { config, thumbprint, DPoP: client.getDPoPHandle(config, keys) };
}

const atLark = { subject_token: ALICE, subject_token_type: USER, audience: "provider:lark", scope: "space:document:retrieve" };

for (const algorithm of ["ES256", "Ed25519", "PS256", "RS256"]) {
  test(`a gateway token bound to a key of ${algorithm} works with it and not without`, async () => {
    const { config, thumbprint, DPoP } = await holder("personal", algorithm);
    assert.ok(config.serverMetadata().dpop_signing_alg_values_supported.includes("ES256"));
    const token = await client.genericGrantRequest(config, EXCHANGE, atLark, { DPoP });
    assert.equal(token.token_type, "dpop");
    const shown = await client.tokenIntrospection(config, token.access_token);
    assert.deepEqual([shown.active, shown.token_type, shown.cnf], [true, "DPoP", { jkt: thumbprint }]);
    const url = new URL(`${token.gateway}/open/open-apis/drive/v1/files?page_size=5`);
    const call = (options) => client.fetchProtectedResource(config, token.access_token, url, "GET", null, undefined, options);
    for (let again = 0; again < 2; again += 1) assert.equal((await call({ DPoP })).status, 200);
    const other = await holder("personal", "ES256");
    for (const options of [undefined, { DPoP: other.DPoP }]) {
      const stolen = await call(options).then((answer) => answer, (error) => error.response ?? error);
      assert.equal(stolen.status, 401);
    }
  });
}

test("a delegation JWT is bound, and the back end checks it", async () => {
  const { config, thumbprint, DPoP } = await holder("autonomous", "ES256");
  const token = await client.clientCredentialsGrant(config, { audience: PEOPLE }, { DPoP });
  assert.deepEqual(jose.decodeJwt(token.access_token).cnf, { jkt: thumbprint });
  const url = new URL(`${info.backend}/headcount`);
  const bound = await client.fetchProtectedResource(config, token.access_token, url, "GET", null, undefined, { DPoP });
  assert.equal(bound.status, 200);
  const bare = await fetch(url, { headers: { Authorization: `Bearer ${token.access_token}` } });
  assert.equal(bare.status, 401);
});

let failed = 0;
for (const [name, run] of tests) {
  try {
    await run();
    console.log(`ok openid-client with DPoP: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED openid-client with DPoP: ${name}: ${String(error).replaceAll(/\s+/g, " ")}`);
  }
}
process.exit(failed ? 1 : 0);
