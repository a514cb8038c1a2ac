/** Tokens that are bound to a key of the agent (DPoP), and client certificates. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate, createHash, createPublicKey, generateKeyPairSync, verify, type JsonWebKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";

import * as valetkey from "../src/index.js";
import { ALICE, Broker, ISSUER, QUESTION, denial, json, refusal, token } from "./broker.js";

const MAIL = "graph/v1.0/me/messages";
const AT = `/gateway/entra/${MAIL}`;

interface Proof {
  header: { typ: string; alg: string; jwk: JsonWebKey };
  claims: Record<string, string | number>;
}

const bound = (text = "vkg_one", nonce?: string): Response => {
  const made = token(text, { token_type: "DPoP" });
  if (nonce) made.headers.set("DPoP-Nonce", nonce);
  return made;
};
const wantsNonce = (nonce: string): Response => refusal("use_dpop_nonce", { headers: { "DPoP-Nonce": nonce } });
const challenge = (nonce: string): Response => {
  const words = 'DPoP realm="valetkey", error="use_dpop_nonce", algs="ES256"';
  return denial("use_dpop_nonce", { status: 401, headers: { "WWW-Authenticate": words, "DPoP-Nonce": nonce } });
};

/** The proofs that a path was shown, each checked with the key that it brings along. */
function shown(broker: Broker, path: string): Proof[] {
  return broker.seen
    .filter((seen) => seen.url.pathname === path)
    .map((seen) => {
      const text = seen.headers.get("dpop") ?? "";
      const [header = "", claims = "", signature = ""] = text.split(".");
      const read = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString());
      const proof = { header: read(header), claims: read(claims) } as Proof;
      const key = createPublicKey({ key: proof.header.jwk, format: "jwk" });
      const signed = Buffer.from(`${header}.${claims}`);
      assert.ok(verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")));
      return proof;
    });
}

test("a token is asked for with a proof and the nonce that the broker wants", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", wantsNonce("one"), bound("vkg_one", "two"));
  const made = await broker.agent({ dpop: true }).token("entra");
  assert.ok(made.isBoundToKey);
  const [first, second] = shown(broker, "/oauth2/token");
  assert.ok(first && second);
  assert.deepEqual([first.header.typ, first.header.alg], ["dpop+jwt", "ES256"]);
  assert.deepEqual(Object.keys(first.header.jwk).sort(), ["crv", "kty", "x", "y"], "nothing of the private key");
  assert.deepEqual([first.claims["htm"], first.claims["htu"]], ["POST", `${ISSUER}/oauth2/token`]);
  assert.deepEqual([first.claims["nonce"], second.claims["nonce"]], [undefined, "one"]);
  assert.notEqual(first.claims["jti"], second.claims["jti"]);
  assert.equal(first.claims["ath"], undefined);
  assert.deepEqual(broker.pauses, []);
});

test("every call has a proof of its own for this token", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", bound("vkg_one", "one"));
  broker.answers(AT, json(200, {}, { "DPoP-Nonce": "two" }), json(200, {}));
  const mail = broker.agent({ dpop: true }).clientFor("entra");
  await mail.fetch(`${MAIL}?$top=1`);
  await mail.fetch(MAIL, { method: "post", body: "{}" });
  assert.deepEqual(broker.authorizations(AT), ["DPoP vkg_one", "DPoP vkg_one"]);
  const [first, second] = shown(broker, AT).map((proof) => proof.claims);
  assert.ok(first && second);
  const ath = createHash("sha256").update("vkg_one").digest("base64url");
  assert.deepEqual([first["htm"], first["htu"], first["ath"], first["nonce"]], ["GET", `${ISSUER}${AT}`, ath, "one"]);
  assert.deepEqual([second["htm"], second["nonce"]], ["POST", "two"]);
  assert.notEqual(first["jti"], second["jti"]);
});

test("a nonce that has lapsed costs one more call and no token", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", bound("vkg_one", "old"));
  broker.answers(AT, challenge("new"), json(201, {}));
  const mail = broker.agent({ dpop: true }).clientFor("entra");
  assert.equal((await mail.fetch(MAIL, { method: "POST", body: '{"a":1}' })).status, 201);
  assert.deepEqual(shown(broker, AT).map((proof) => proof.claims["nonce"]), ["old", "new"]);
  assert.deepEqual([broker.seen[1]?.body, broker.seen[2]?.body], ['{"a":1}', '{"a":1}']);
  assert.equal(broker.forms().length, 1);
});

test("a server that wants nonces for ever is an error, and so is a body that cannot be sent again", async () => {
  const broker = new Broker();
  const agent = broker.agent({ dpop: true });
  broker.answers("/oauth2/token", wantsNonce("one"), wantsNonce("two"));
  await assert.rejects(agent.token("entra"), valetkey.NonceNeeded);
  broker.answers("/oauth2/token", bound("vkg_one"), bound("vkg_two"));
  broker.answers(AT, challenge("one"), challenge("two"), challenge("three"));
  await assert.rejects(agent.clientFor("entra").fetch(MAIL), valetkey.ProofRejected);
  broker.answers(AT, challenge("four"));
  const body = new ReadableStream({ start: (stream) => stream.close() });
  const streamed = { method: "POST", body, duplex: "half" } as RequestInit;
  await assert.rejects(agent.clientFor("entra").fetch(MAIL, streamed), valetkey.ProofRejected);
});

test("polling has a proof as well", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", refusal("interaction_required", QUESTION), refusal("authorization_pending"), bound());
  assert.ok((await broker.agent({ dpop: true, onInteraction: () => undefined }).token("entra")).isBoundToKey);
  assert.equal(shown(broker, "/oauth2/token").length, 3);
});

test("a token that anybody could use is not used", async () => {
  const broker = new Broker();
  const mail = broker.agent({ dpop: true }).clientFor("entra");
  for (const _ of [1, 2]) {
    broker.answers("/oauth2/token", token());
    await assert.rejects(mail.fetch(MAIL), valetkey.NotBound);
  }
});

test("without a key there are no proofs", async () => {
  const broker = new Broker();
  broker.answers("/oauth2/token", token());
  await broker.agent().token("entra");
  assert.equal(broker.seen[0]?.headers.get("dpop"), null);
});

test("a key can be kept in a file and is shown nowhere", () => {
  const folder = mkdtempSync(join(tmpdir(), "valetkey-"));
  try {
    const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    writeFileSync(join(folder, "key.pem"), pem);
    const key = valetkey.DpopKey.file(join(folder, "key.pem"));
    assert.equal(key.thumbprint, valetkey.DpopKey.pem(pem).thumbprint);
    assert.notEqual(key.thumbprint, valetkey.DpopKey.generate().thumbprint);
    assert.doesNotMatch(inspect(key, { depth: 9 }) + JSON.stringify(key), /PRIVATE|"d"/);
    assert.throws(() => valetkey.DpopKey.file(join(folder, "none.pem")), valetkey.CredentialsNotFound);
    assert.throws(() => valetkey.DpopKey.pem("no key"), valetkey.CredentialsNotFound);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// Client certificates: a real server that asks for one.

function certificate(folder: string, name: string): { cert: string; key: string } {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
      ...["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key],
    ],
    { stdio: "ignore" },
  );
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}

test("a client certificate is shown and is enough", async () => {
  const folder = mkdtempSync(join(tmpdir(), "valetkey-"));
  const [server, own] = [certificate(folder, "broker"), certificate(folder, "agent")];
  const seen: { path: string; peer: string; body: string }[] = [];
  const listening: Server = createServer({ ...server, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => (body += part.toString()));
    request.on("end", () => {
      const peer = (request.socket as TLSSocket).getPeerX509Certificate()?.fingerprint256 ?? "";
      seen.push({ path: request.url ?? "", peer, body });
      if (request.url === "/gateway/entra/empty") return response.writeHead(204).end();
      if (request.url === "/oauth2/token") {
        return void token().text().then((text) => response.writeHead(200, { "Content-Type": "application/json" }).end(text));
      }
      return response.writeHead(302, { Location: "https://elsewhere.example.com/" }).end("moved");
    });
  });
  try {
    await new Promise<void>((done) => listening.listen(0, "127.0.0.1", done));
    const issuer = `https://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    const given = { issuer, clientId: "agt_1", subject: ALICE };
    const certificateOf = { ...own, ca: server.cert };
    const agent = new valetkey.Valetkey({ ...given, environment: {}, certificate: certificateOf });
    const calls = agent.clientFor("entra");
    assert.equal((await calls.fetch("empty")).status, 204);
    const moved = await calls.fetch("moved", { method: "POST", body: "{}" });
    assert.deepEqual([moved.status, await moved.text()], [302, "moved"], "redirects are not followed");
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("streamed"));
        controller.close();
      },
    });
    await calls.fetch("moved", { method: "PUT", body: stream, duplex: "half" } as RequestInit);
    const fingerprint = new X509Certificate(own.cert).fingerprint256;
    assert.deepEqual(new Set(seen.map((one) => one.peer)), new Set([fingerprint]));
    assert.deepEqual(seen.map((one) => one.path), ["/oauth2/token", ...["empty", "moved", "moved"].map((at) => `/gateway/entra/${at}`)]);
    assert.deepEqual(seen.slice(2).map((one) => one.body), ["{}", "streamed"]);
    const form = Object.fromEntries(new URLSearchParams(seen[0]?.body));
    assert.deepEqual([form["client_id"], form["client_secret"], form["client_assertion"]], ["agt_1", undefined, undefined]);

    const environment = {
      VALETKEY_CLIENT_CERTIFICATE_FILE: join(folder, "agent.pem"),
      VALETKEY_CLIENT_CERTIFICATE_KEY_FILE: join(folder, "agent.key"),
    };
    const other = new valetkey.Valetkey({ ...given, environment });
    await assert.rejects(other.token("entra"), valetkey.Unreachable, "whose server's certificate nobody vouches for");
    const wrong = { VALETKEY_CLIENT_CERTIFICATE_FILE: join(folder, "none.pem") };
    assert.throws(() => new valetkey.Valetkey({ ...given, environment: wrong }), valetkey.CredentialsNotFound);
    const no = { cert: "no", key: "no" };
    assert.throws(() => new valetkey.Valetkey({ ...given, environment: {}, certificate: no }), valetkey.CredentialsNotFound);
  } finally {
    listening.closeAllConnections();
    listening.close();
    rmSync(folder, { recursive: true });
  }
});
