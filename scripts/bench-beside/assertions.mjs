// Signs client assertions (RFC 7523) ahead of a measurement: each can be used once.
//
//   assertions.mjs key                         a key: {"private": PKCS #8 in base64, "x": …}
//   assertions.mjs COUNT ISSUER CLIENT PRIVATE one request body per line, for the token endpoint of ISSUER

import { createPrivateKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";

if (process.argv[2] === "key") {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const der = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  console.log(JSON.stringify({ private: der, x: publicKey.export({ format: "jwk" }).x }));
} else {
  const [count, issuer, clientId, der, rest] = process.argv.slice(2);
  const key = createPrivateKey({ key: Buffer.from(der, "base64"), format: "der", type: "pkcs8" });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = part({ alg: "EdDSA", typ: "JWT" });
  const now = Math.floor(Date.now() / 1000);
  const lines = [];
  for (let at = 0; at < Number(count); at += 1) {
    const claims = { iss: clientId, sub: clientId, aud: issuer, iat: now, exp: now + 240, jti: randomUUID() };
    const signed = `${header}.${part(claims)}`;
    const assertion = `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`;
    const type = encodeURIComponent("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    lines.push(`${rest}&client_id=${clientId}&client_assertion_type=${type}&client_assertion=${assertion}`);
  }
  process.stdout.write(lines.join("\n"));
}
