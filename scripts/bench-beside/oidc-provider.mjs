// npm's oidc-provider as another issuer of the same kind of token: what `scripts/bench` measures beside ours.
// One process, one thread, records in memory. Prints where it listens, and stays until it is ended.

import { Provider } from "oidc-provider";

const [audience, clientId, secret, publicKey] = process.argv.slice(2);
const { privateKey } = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
const signing = { ...(await crypto.subtle.exportKey("jwk", privateKey)), alg: "EdDSA", use: "sig", kid: "bench" };
delete signing.key_ops;
delete signing.ext;

const client = { client_id: clientId, grant_types: ["client_credentials"], response_types: [], redirect_uris: [], id_token_signed_response_alg: "EdDSA" };
const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    { ...client, client_secret: secret, token_endpoint_auth_method: "client_secret_basic" },
    {
      ...client,
      client_id: `${clientId}-key`,
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: "EdDSA",
      jwks: { keys: [{ kty: "OKP", crv: "Ed25519", x: publicKey, alg: "EdDSA", use: "sig" }] },
    },
  ],
  jwks: { keys: [signing] },
  enabledJWA: {
    clientAuthSigningAlgValues: ["EdDSA"],
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "headcount.read",
        audience,
        accessTokenTTL: 300,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "EdDSA" } },
      }),
    },
  },
});
provider.on("server_error", (_, error) => console.error(error));
provider.listen(port, "127.0.0.1", () => console.log(issuer));
