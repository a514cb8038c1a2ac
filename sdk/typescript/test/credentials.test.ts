/** Who the agent is: what is found, in which order, and what is sent. */

import assert from "node:assert/strict";
import { constants, generateKeyPairSync, verify, type KeyObject } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { webIdentityCall, webIdentityToken } from "../src/aws.js";
import { CredentialsNotFound, Valetkey, credentials } from "../src/index.js";
import { Broker, ISSUER, json, token } from "./broker.js";

async function sent(broker: Broker, given: credentials.Credentials): Promise<Record<string, string>> {
  broker.answers("/oauth2/token", token());
  await broker.agent({ credentials: given }).token("entra");
  return broker.forms().at(-1) ?? {};
}

function decoded(jwt: string): { header: Record<string, unknown>; claims: Record<string, unknown>; check: (key: KeyObject) => boolean } {
  const [header = "", claims = "", signature = ""] = jwt.split(".");
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
  const check = (key: KeyObject) => {
    const [data, bytes] = [Buffer.from(`${header}.${claims}`), Buffer.from(signature, "base64url")];
    if (key.asymmetricKeyType === "ed25519") return verify(null, data, key, bytes);
    if (key.asymmetricKeyType === "ec") return verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, bytes);
    return verify("sha256", data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, bytes);
  };
  return { header: read(header), claims: read(claims), check };
}

test("a key signs a short assertion for the issuer", async () => {
  for (const [pair, algorithm] of [
    [generateKeyPairSync("ed25519"), "EdDSA"],
    [generateKeyPairSync("ec", { namedCurve: "P-256" }), "ES256"],
    [generateKeyPairSync("rsa", { modulusLength: 2048 }), "PS256"],
  ] as const) {
    const broker = new Broker();
    const pem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const given = credentials.privateKeyJwt(pem, { keyId: "key-1" });
    const forms = [await sent(broker, given), await sent(broker, given)];
    const [first, second] = forms.map((form) => decoded(form["client_assertion"] ?? ""));
    assert.ok(first && second && first.check(pair.publicKey));
    assert.deepEqual([first.header["alg"], first.header["kid"]], [algorithm, "key-1"]);
    assert.deepEqual([first.claims["iss"], first.claims["sub"], first.claims["aud"]], ["agt_1", "agt_1", ISSUER]);
    assert.equal(Number(first.claims["exp"]) - Number(first.claims["iat"]), 60);
    assert.notEqual(first.claims["jti"], second.claims["jti"], "each can be used once");
    assert.ok(!("client_secret" in (forms[0] ?? {})));
  }
  assert.throws(() => credentials.privateKeyJwt("not a key"), CredentialsNotFound);
});

test("files are read anew for every request", async () => {
  const folder = mkdtempSync(join(tmpdir(), "valetkey-"));
  try {
    const file = join(folder, "token");
    const [broker, given] = [new Broker(), credentials.assertionFile(file)];
    writeFileSync(file, "first.projected.token\n");
    assert.equal((await sent(broker, given))["client_assertion"], "first.projected.token");
    writeFileSync(file, "second.projected.token");
    assert.equal((await sent(broker, given))["client_assertion"], "second.projected.token");
    writeFileSync(file, " ");
    await assert.rejects(broker.agent({ credentials: given }).token("lark"), /empty/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("clouds are asked for a token for the broker", async () => {
  const broker = new Broker();
  const gcp = "/computeMetadata/v1/instance/service-accounts/default/identity";
  broker.answers(gcp, new Response("gcp.id.token\n", { headers: { "Metadata-Flavor": "Google" } }), new Response("x.y.z"));
  assert.equal((await sent(broker, credentials.gcpIdentity()))["client_assertion"], "gcp.id.token");
  const asked = broker.seen[0];
  assert.equal(asked?.url.href, `http://metadata.google.internal${gcp}?audience=${encodeURIComponent(ISSUER)}&format=full`);
  await assert.rejects(sent(broker, credentials.gcpIdentity()), /not Google/);

  const azure = new Broker();
  azure.answers("/metadata/identity/oauth2/token", json(200, { access_token: "azure.token" }));
  const identity = credentials.azureManagedIdentity("api://valetkey", { environment: {} });
  assert.equal((await sent(azure, identity))["client_assertion"], "azure.token");
  assert.equal(azure.seen[0]?.headers.get("metadata"), "true");
  azure.answers("/msi", json(200, { access_token: "app.token" }));
  const environment = { IDENTITY_ENDPOINT: "http://127.0.0.1:41/msi", IDENTITY_HEADER: "header" };
  const inService = credentials.azureManagedIdentity("api://valetkey", { environment, identity: "mi-1" });
  assert.equal((await sent(azure, inService))["client_assertion"], "app.token");

  const github = new Broker();
  github.answers("/token", json(200, { value: "github.job.token" }));
  const job = { ACTIONS_ID_TOKEN_REQUEST_URL: "https://actions.example/token?run=1", ACTIONS_ID_TOKEN_REQUEST_TOKEN: "j" };
  const found = await sent(github, credentials.gitHubActions({ environment: job }));
  assert.equal(found["client_assertion"], "github.job.token");
  assert.equal(github.seen[0]?.url.searchParams.get("audience"), ISSUER);
});

test("AWS keys come from this machine, and the call is signed as the Python package signs it", async () => {
  const broker = new Broker();
  const base = "/latest/meta-data/iam/security-credentials/";
  broker.answers("/latest/api/token", new Response("imds-session"));
  broker.answers(base, new Response("Worker"));
  const role = { AccessKeyId: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG", Token: "session" };
  broker.answers(`${base}Worker`, json(200, role));
  broker.answers("/", new Response("<r><WebIdentityToken>aws.web.identity</WebIdentityToken></r>"));
  const given = credentials.awsWebIdentity({ region: "eu-central-1", environment: {}, now: () => 1_790_000_000_000 });
  assert.equal((await sent(broker, given))["client_assertion"], "aws.web.identity");
  const call = broker.seen.find((seen) => seen.url.host.startsWith("sts."));
  assert.equal(call?.url.href, "https://sts.eu-central-1.amazonaws.com/");
  // The same request in sdk/python/tests/test_credentials.py, where botocore makes the signature.
  assert.match(call?.headers.get("authorization") ?? "", /Signature=3a5592b8956564c3952a771d6a9db18ebf5d941b34e822ccfab88d50e3b3b9a4$/);

  const container = { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://attacker.example/keys" };
  const far = credentials.awsWebIdentity({ region: "eu-central-1", environment: container });
  await assert.rejects(sent(broker, far), /another machine/);
  assert.throws(() => webIdentityToken(200, "<html/>"), CredentialsNotFound);
  const china = webIdentityCall({ accessKey: "a", secretKey: "b", sessionToken: undefined }, "cn-north-1", "x", "RS256", 0);
  assert.equal(china.url, "https://sts.cn-north-1.amazonaws.com.cn/");
});

test("credentials are found in a fixed order and never borrowed", () => {
  const root = mkdtempSync(join(tmpdir(), "valetkey-"));
  try {
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
      return join(root, path);
    };
    const found = (environment: Record<string, string> = {}) => credentials.discover(environment, root).name;
    assert.throws(found, /VALETKEY_CLIENT_SECRET/);
    // Made for the cluster's own server, and for other clouds' token services: not ours to send anywhere.
    const other = write("var/run/secrets/kubernetes.io/serviceaccount/token", "for.the.cluster");
    assert.throws(() => found({ AWS_WEB_IDENTITY_TOKEN_FILE: other, AZURE_FEDERATED_TOKEN_FILE: other }), CredentialsNotFound);
    write("sys/class/dmi/id/product_name", "Google Compute Engine\n");
    assert.equal(found(), "gcpIdentity");
    write("sys/class/dmi/id/product_name", "Virtual Machine\n");
    const tag = write("sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n");
    assert.equal(found({ VALETKEY_AZURE_RESOURCE: "api://valetkey" }), "azureManagedIdentity");
    assert.throws(found, /VALETKEY_AZURE_RESOURCE/);
    rmSync(tag);
    write("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    assert.equal(found(), "awsWebIdentity");
    assert.equal(found({ ACTIONS_ID_TOKEN_REQUEST_URL: "https://x" }), "gitHubActions");
    write(credentials.KUBERNETES_TOKEN, "a.b.c");
    assert.equal(found(), "kubernetes");
    const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    assert.equal(found({ VALETKEY_PRIVATE_KEY_FILE: write("key.pem", pem) }), "privateKeyJwt");
    assert.equal(found({ VALETKEY_CLIENT_ASSERTION_FILE: "x" }), "assertionFile");
    assert.equal(found({ VALETKEY_CLIENT_SECRET_FILE: "x", VALETKEY_CLIENT_ASSERTION_FILE: "x" }), "clientSecretFile");
    assert.equal(found({ VALETKEY_CLIENT_SECRET: "x" }), "clientSecret");
  } finally {
    rmSync(root, { recursive: true });
  }
  assert.throws(() => new Valetkey({ environment: {} }), /VALETKEY_ISSUER/);
});
