/**
 * Client certificates (RFC 8705) against a real broker that serves TLS: `tests/interop/secured.py`, whose file
 * `VALETKEY_SECURED_INFO` names.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as valetkey from "../src/index.js";
import { fetchWith } from "../src/tls.js";
import { agrees } from "./person.js";

interface Info {
  issuer: string;
  ca_file: string;
  audience: string;
  owner: { email: string; password: string };
  agents: Record<string, string>;
  certificates: Record<string, { certificate: string; key: string; sha256: string }>;
}

const ME = "mgmt/api/v1/users/me";
const SCOPE = "okta.users.read.self";
const info = JSON.parse(readFileSync(process.env["VALETKEY_SECURED_INFO"] ?? "", "utf8")) as Info;
const ca = readFileSync(info.ca_file, "utf8");

function held(name: string): { certificate: string; key: string; sha256: string } {
  const found = info.certificates[name];
  assert.ok(found);
  return found;
}

function certificate(name: string): valetkey.Certificate {
  const { certificate, key } = held(name);
  return { cert: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8"), ca };
}

function agent(kind: string, name: string, options: valetkey.Options = {}): valetkey.Valetkey {
  const environment = { VALETKEY_ISSUER: info.issuer, VALETKEY_CLIENT_ID: info.agents[kind] ?? "" };
  return new valetkey.Valetkey({ environment, certificate: certificate(name), ...options });
}

test("a certificate signs in, and its tokens work over its connections only", async () => {
  const mine = agent("personal", "own", { subject: info.owner.email });
  const error = await mine.token("okta", { scope: SCOPE }).catch((error: unknown) => error);
  assert.ok(error instanceof valetkey.InteractionRequired, String(error));
  await agrees(error.interaction, info.owner, fetchWith(certificate("stranger")));
  const okta = mine.clientFor("okta", { scope: SCOPE });
  const me = await okta.json<{ profile: { email: string } }>(ME);
  assert.equal(me.profile.email, info.owner.email);

  // Whoever has seen the token has nothing: neither with another certificate nor with the agent's own next one.
  const token = await mine.token("okta", { scope: SCOPE });
  const headers = { Authorization: `Bearer ${token.accessToken}` };
  for (const [name, status] of [["stranger", 401], ["successor", 401], ["own", 200]] as const) {
    const answer = await fetchWith(certificate(name))(`${info.issuer}/gateway/okta/${ME}`, { headers });
    assert.equal(answer.status, status, name);
    await answer.arrayBuffer();
  }
});

test("a renewed certificate goes on where the former one was", async () => {
  const okta = agent("personal", "successor", { subject: info.owner.email }).clientFor("okta", { scope: SCOPE });
  const answers = await Promise.all(Array.from({ length: 5 }, () => okta.fetch(ME)));
  assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 200, 200, 200]);
  await Promise.all(answers.map((answer) => answer.arrayBuffer()));
});

test("a name of a private authority signs in and binds a back end's token", async () => {
  const token = await agent("autonomous", "issued").tokenForAudience(info.audience);
  const claims = JSON.parse(Buffer.from(token.accessToken.split(".")[1] ?? "", "base64url").toString()) as {
    sub: string;
    cnf: Record<string, string>;
  };
  assert.equal(claims.sub, info.agents["autonomous"]);
  const sha256 = Buffer.from(held("issued").sha256.replaceAll(":", ""), "hex").toString("base64url");
  assert.deepEqual(claims.cnf, { "x5t#S256": sha256 });
});

test("a certificate of somebody else signs nobody in", async () => {
  for (const [kind, name] of [["personal", "stranger"], ["personal", "issued"], ["autonomous", "namesake"], ["autonomous", "own"]] as const) {
    const other = agent(kind, name, { subject: info.owner.email });
    await assert.rejects(other.tokenForAudience(info.audience), valetkey.InvalidClient, `${kind} ${name}`);
  }
});

test("the environment names the certificate", async () => {
  const { certificate: cert, key } = held("issued");
  const environment = {
    VALETKEY_ISSUER: info.issuer,
    VALETKEY_CLIENT_ID: info.agents["autonomous"] ?? "",
    VALETKEY_CLIENT_CERTIFICATE_FILE: cert,
    VALETKEY_CLIENT_CERTIFICATE_KEY_FILE: key,
  };
  // Its authority is none of Node's own, and the environment names no other: nobody vouches for the server.
  await assert.rejects(new valetkey.Valetkey({ environment }).tokenForAudience(info.audience), valetkey.Unreachable);
  const given = { ...certificate("issued") };
  const token = await new valetkey.Valetkey({ environment, certificate: given }).tokenForAudience(info.audience);
  assert.deepEqual([...token.scope], ["invoice.read"]);
});
