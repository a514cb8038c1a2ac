/** How an agent says who it is: by a secret, by a key of its own, or by what the platform says of it. */

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import * as aws from "./aws.js";
import { CredentialsNotFound } from "./errors.js";
import { SigningKey } from "./keys.js";

const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/** Where a Kubernetes projected token with the broker's issuer as its audience is looked for, below `/`. */
export const KUBERNETES_TOKEN = "var/run/secrets/valetkey/token";
const METADATA_TIMEOUT_MS = 3000;
const PLATFORM_TIMEOUT_MS = 10_000;

export type Environment = Record<string, string | undefined>;
type Form = Record<string, string>;

/** What is known where an agent proves who it is. */
export interface Asking {
  issuer: string;
  clientId: string;
  fetch: typeof fetch;
}

/** Proves who the agent is, anew for every request. */
export interface Credentials {
  proof(asking: Asking): Promise<Form>;
}

/** The simple way: a secret that was shown once when the agent was registered. */
export function clientSecret(secret: string | (() => string | Promise<string>)): Credentials {
  return {
    async proof({ clientId }) {
      return { client_id: clientId, client_secret: typeof secret === "string" ? secret : await secret() };
    },
  };
}

/** A JWT from somewhere else; asked for anew for every request. */
export function assertion(token: () => string | Promise<string>): Credentials {
  return { proof: async ({ clientId }) => asserted(clientId, await token()) };
}

/** A file that the platform renews, such as a Kubernetes projected service account token. */
export const assertionFile = (path: string): Credentials => assertion(() => textOf(path));

/** A file that holds the secret; read for every request, so that it can be rotated. */
export const clientSecretFile = (path: string): Credentials => clientSecret(() => textOf(path));

/** `private_key_jwt` (RFC 7523) with a key that never leaves the agent. */
export function privateKeyJwt(pem: string, options: { keyId?: string | undefined } = {}): Credentials {
  const key = SigningKey.load(pem);
  return {
    async proof({ issuer, clientId }) {
      const now = Math.floor(Date.now() / 1000);
      // Our issuer only: an assertion made out to an endpoint could be replayed by whoever runs another one.
      const claims = { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: now, exp: now + 60 };
      return asserted(clientId, key.sign(claims, { typ: "JWT", ...(options.keyId ? { kid: options.keyId } : {}) }));
    },
  };
}

/** Nothing but the client certificate of the connection (RFC 8705): the client's `certificate`. */
export function certificateOnly(): Credentials {
  return { proof: async ({ clientId }) => ({ client_id: clientId }) };
}

/** The identity token of the service account that Google Cloud runs this under. */
export function gcpIdentity(options: { audience?: string; host?: string } = {}): Credentials {
  return {
    async proof({ issuer, clientId, fetch }) {
      const audience = encodeURIComponent(options.audience ?? issuer);
      const path = "/computeMetadata/v1/instance/service-accounts/default/identity";
      const url = `http://${options.host ?? "metadata.google.internal"}${path}?audience=${audience}&format=full`;
      const answer = await metadata(fetch, "GET", url, { "Metadata-Flavor": "Google" });
      if (answer.headers.get("metadata-flavor") !== "Google") {
        throw new CredentialsNotFound("what answered is not Google Cloud's metadata server");
      }
      return asserted(clientId, (await answer.text()).trim());
    },
  };
}

/** A token of the managed identity that Azure runs this under, for the app registration that stands for the broker. */
export function azureManagedIdentity(
  resource: string,
  options: { identity?: string; environment?: Environment } = {},
): Credentials {
  const environment = options.environment ?? process.env;
  return {
    async proof({ clientId, fetch }) {
      const [endpoint, header] = [environment["IDENTITY_ENDPOINT"], environment["IDENTITY_HEADER"]];
      let query = `resource=${encodeURIComponent(resource)}`;
      if (options.identity) query += `&client_id=${encodeURIComponent(options.identity)}`;
      const answer =
        endpoint && header
          ? // App Service, Functions, Container Apps.
            await metadata(fetch, "GET", `${endpoint}?api-version=2019-08-01&${query}`, { "X-IDENTITY-HEADER": header })
          : await metadata(
              fetch,
              "GET",
              `http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&${query}`,
              { Metadata: "true" },
            );
      return asserted(clientId, await member(answer, "access_token"));
    },
  };
}

/** A token of AWS STS (`GetWebIdentityToken`) for the role that AWS runs this under. */
export function awsWebIdentity(
  options: { audience?: string; region?: string; algorithm?: string; environment?: Environment; now?: () => number } = {},
): Credentials {
  const environment = options.environment ?? process.env;
  return {
    async proof({ issuer, clientId, fetch }) {
      const region = options.region ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"];
      if (!region) throw new CredentialsNotFound("name the AWS region: AWS_REGION, or awsWebIdentity({ region })");
      const keys = await aws.keys(environment, (method, url, headers) => metadata(fetch, method, url, headers));
      const call = aws.webIdentityCall(
        keys,
        region,
        options.audience ?? issuer,
        options.algorithm ?? "ES384",
        (options.now ?? Date.now)(),
      );
      const answer = await fetch(call.url, { ...call.init, signal: AbortSignal.timeout(PLATFORM_TIMEOUT_MS) });
      return asserted(clientId, aws.webIdentityToken(answer.status, await answer.text()));
    },
  };
}

/** The token of a GitHub Actions job with `permissions: id-token: write`. */
export function gitHubActions(options: { audience?: string; environment?: Environment } = {}): Credentials {
  const environment = options.environment ?? process.env;
  return {
    async proof({ issuer, clientId, fetch }) {
      const [url, key] = [environment["ACTIONS_ID_TOKEN_REQUEST_URL"], environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]];
      if (!url || !key) throw new CredentialsNotFound("this job has no `permissions: id-token: write`");
      const answer = await fetch(`${url}&audience=${encodeURIComponent(options.audience ?? issuer)}`, {
        headers: { Authorization: `Bearer ${key}` },
        signal: AbortSignal.timeout(PLATFORM_TIMEOUT_MS),
      });
      return asserted(clientId, await member(answer, "value"));
    },
  };
}

/** Which credentials were found, by name. */
export interface Found {
  name: string;
  credentials: Credentials;
}

/**
 * Finds the agent's credentials: the environment, then a Kubernetes projected token, then the cloud's metadata.
 *
 * Nothing is sent anywhere to find out. Tokens that the platform has made for somebody else, such as the default
 * service account token of Kubernetes, are never used.
 */
export function discover(environment: Environment = process.env, root = "/"): Found {
  const value = (name: string): string | undefined => environment[name] || undefined;
  const secret = value("VALETKEY_CLIENT_SECRET");
  if (secret) return { name: "clientSecret", credentials: clientSecret(secret) };
  const secretFile = value("VALETKEY_CLIENT_SECRET_FILE");
  if (secretFile) return { name: "clientSecretFile", credentials: clientSecretFile(secretFile) };
  const file = value("VALETKEY_CLIENT_ASSERTION_FILE");
  if (file) return { name: "assertionFile", credentials: assertionFile(file) };
  const keyFile = value("VALETKEY_PRIVATE_KEY_FILE");
  if (keyFile) {
    return { name: "privateKeyJwt", credentials: privateKeyJwt(readKey(keyFile), { keyId: value("VALETKEY_KEY_ID") }) };
  }
  if (value("VALETKEY_CLIENT_CERTIFICATE_FILE")) return { name: "certificateOnly", credentials: certificateOnly() };
  const projected = join(root, KUBERNETES_TOKEN);
  if (existsSync(projected)) return { name: "kubernetes", credentials: assertionFile(projected) };
  if (value("ACTIONS_ID_TOKEN_REQUEST_URL")) {
    return { name: "gitHubActions", credentials: gitHubActions({ environment }) };
  }
  return cloud(environment, root);
}

function cloud(environment: Environment, root: string): Found {
  const firmware = (name: string): string => {
    try {
      return readFileSync(join(root, "sys/class/dmi/id", name), "utf8").trim();
    } catch {
      return "";
    }
  };
  const host = environment["GCE_METADATA_HOST"];
  if (environment["K_SERVICE"] || host || firmware("product_name") === "Google Compute Engine") {
    return { name: "gcpIdentity", credentials: gcpIdentity(host ? { host } : {}) };
  }
  // The tag that Microsoft gives to every virtual machine of Azure.
  const isAzure = firmware("chassis_asset_tag") === "7783-7084-3265-9085-8269-3286-77";
  if (isAzure || environment["IDENTITY_ENDPOINT"]) {
    const resource = environment["VALETKEY_AZURE_RESOURCE"];
    if (!resource) throw new CredentialsNotFound("set VALETKEY_AZURE_RESOURCE to the App ID URI that stands for the broker");
    return { name: "azureManagedIdentity", credentials: azureManagedIdentity(resource, { environment }) };
  }
  const inAws = ["AWS_EXECUTION_ENV", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
  if (inAws.some((name) => environment[name]) || firmware("sys_vendor") === "Amazon EC2") {
    return { name: "awsWebIdentity", credentials: awsWebIdentity({ environment }) };
  }
  throw new CredentialsNotFound(
    "nothing says who this agent is: set VALETKEY_CLIENT_SECRET, VALETKEY_CLIENT_SECRET_FILE, " +
      "VALETKEY_CLIENT_ASSERTION_FILE, VALETKEY_PRIVATE_KEY_FILE or VALETKEY_CLIENT_CERTIFICATE_FILE, mount a " +
      "projected token at " +
      `/${KUBERNETES_TOKEN}, or pass credentials`,
  );
}

async function metadata(
  fetch: Asking["fetch"],
  method: string,
  url: string,
  headers: Record<string, string>,
): Promise<Response> {
  const signal = AbortSignal.timeout(METADATA_TIMEOUT_MS);
  const answer = await fetch(url, { method, headers, redirect: "error", signal }).catch(() => {
    throw new CredentialsNotFound("the metadata server does not answer");
  });
  if (answer.status !== 200) throw new CredentialsNotFound(`the metadata server answered ${answer.status}`);
  return answer;
}

function asserted(clientId: string, token: string): Form {
  return { client_id: clientId, client_assertion_type: ASSERTION_TYPE, client_assertion: token };
}

async function member(answer: Response, name: string): Promise<string> {
  const body: unknown = await answer.json().catch(() => undefined);
  const value = typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
  if (!answer.ok || typeof value !== "string") {
    // The body may hold a token: it is not part of the words.
    throw new CredentialsNotFound(`no token came from the platform (status ${answer.status})`);
  }
  return value;
}

async function textOf(path: string): Promise<string> {
  const text = (await readFile(path, "utf8").catch(() => {
    throw new CredentialsNotFound(`${path}: it cannot be read`);
  })).trim();
  if (!text) throw new CredentialsNotFound(`${path}: it is empty`);
  return text;
}

function readKey(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new CredentialsNotFound(`${path}: it cannot be read`);
  }
}
