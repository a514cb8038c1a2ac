/** AWS: the role's keys, and a signed call of STS (Signature Version 4). Only what one call needs. */

import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

import { CredentialsNotFound } from "./errors.js";

type Environment = Record<string, string | undefined>;
type Fetch = (method: string, url: string, headers: Record<string, string>) => Promise<Response>;

const CONTAINERS = "http://169.254.170.2";
const MACHINE = "http://169.254.169.254";
const LIFE_S = 300;

/** Temporary keys of a role. */
export interface Keys {
  accessKey: string;
  secretKey: string;
  sessionToken: string | undefined;
}

/** From the environment (Lambda), the container agent (ECS, EKS Pod Identity) or the machine (IMDSv2). */
export async function keys(environment: Environment, fetch: Fetch): Promise<Keys> {
  const [accessKey, secretKey] = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]];
  if (accessKey && secretKey) return { accessKey, secretKey, sessionToken: environment["AWS_SESSION_TOKEN"] };
  const relative = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  const full = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
  let answer: Response;
  if (relative) {
    answer = await fetch("GET", CONTAINERS + relative, {});
  } else if (full) {
    answer = await fetch("GET", local(full), containerToken(environment));
  } else {
    const session = await fetch("PUT", `${MACHINE}/latest/api/token`, { "X-aws-ec2-metadata-token-ttl-seconds": "60" });
    const headers = { "X-aws-ec2-metadata-token": await session.text() };
    const base = `${MACHINE}/latest/meta-data/iam/security-credentials/`;
    const role = (await (await fetch("GET", base, headers)).text()).split("\n")[0] ?? "";
    answer = await fetch("GET", base + role.trim(), headers);
  }
  const found = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  const { AccessKeyId, SecretAccessKey, Token } = found;
  if (typeof AccessKeyId !== "string" || typeof SecretAccessKey !== "string" || typeof Token !== "string") {
    throw new CredentialsNotFound("this role has no usable AWS keys");
  }
  return { accessKey: AccessKeyId, secretKey: SecretAccessKey, sessionToken: Token };
}

/** Keys come over plain HTTP from this machine only; anything else could be an attacker's. */
function local(text: string): string {
  const url = new URL(text);
  const allowed = ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
  if (url.protocol !== "https:" && !allowed.includes(url.hostname)) {
    throw new CredentialsNotFound("AWS_CONTAINER_CREDENTIALS_FULL_URI names another machine over plain HTTP");
  }
  return text;
}

function containerToken(environment: Environment): Record<string, string> {
  const file = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  const token = file ? readFileSync(file, "utf8").trim() : environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  return token ? { Authorization: token } : {};
}

/** The signed request for a token; regional endpoints only issue them. */
export function webIdentityCall(
  keys: Keys,
  region: string,
  audience: string,
  algorithm: string,
  now: number,
): { url: string; init: { method: string; headers: Record<string, string>; body: string } } {
  const host = `sts.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  const body = new URLSearchParams({
    Action: "GetWebIdentityToken",
    Version: "2011-06-15",
    "Audience.member.1": audience,
    DurationSeconds: String(LIFE_S),
    SigningAlgorithm: algorithm,
  }).toString();
  return { url: `https://${host}/`, init: { method: "POST", headers: signature(keys, region, host, body, now), body } };
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

function signature(keys: Keys, region: string, host: string, body: string, now: number): Record<string, string> {
  const moment = new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = moment.slice(0, 8);
  const headers: Record<string, string> = {
    "content-type": "application/x-www-form-urlencoded; charset=utf-8",
    host,
    "x-amz-date": moment,
    ...(keys.sessionToken ? { "x-amz-security-token": keys.sessionToken } : {}),
  };
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const canonical = `POST\n/\n\n${lines}\n${names.join(";")}\n${sha256(body)}`;
  const scope = `${day}/${region}/sts/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${moment}\n${scope}\n${sha256(canonical)}`;
  const key = [day, region, "sts", "aws4_request"].reduce<Buffer>(
    (key, part) => createHmac("sha256", key).update(part).digest(),
    Buffer.from(`AWS4${keys.secretKey}`),
  );
  const signature = createHmac("sha256", key).update(toSign).digest("hex");
  const credential = `${keys.accessKey}/${scope}`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return { ...headers, authorization };
}

/** The token in the answer's XML. */
export function webIdentityToken(status: number, xml: string): string {
  const found = /<WebIdentityToken>\s*([A-Za-z0-9_.-]+)\s*<\/WebIdentityToken>/.exec(xml)?.[1];
  if (status !== 200 || !found) {
    throw new CredentialsNotFound(`AWS STS gave no token (status ${status}): is outbound federation enabled?`);
  }
  return found;
}
