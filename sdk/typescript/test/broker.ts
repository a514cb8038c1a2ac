/** A broker made of rules: answers in the order in which they were laid ready, per path. */

import assert from "node:assert/strict";

import { Valetkey, type Options } from "../src/index.js";

export const ISSUER = "https://valetkey.example.com";
export const ALICE = "alice@example.com";
export const QUESTION = {
  interaction: "consent",
  interaction_uri: `${ISSUER}/i/int_1`,
  auth_req_id: "vkr_handle",
  expires_in: 86400,
  interval: 5,
};

type Ready = Response | Error | ((request: Seen) => Response);

export interface Seen {
  method: string;
  url: URL;
  headers: Headers;
  body: string;
}

export class Broker {
  readonly seen: Seen[] = [];
  readonly pauses: number[] = [];
  time = 1_000_000;
  readonly #ready = new Map<string, Ready[]>();

  answers(path: string, ...ready: Ready[]): void {
    this.#ready.set(path, [...(this.#ready.get(path) ?? []), ...ready]);
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const body = init.body instanceof URLSearchParams ? init.body.toString() : typeof init.body === "string" ? init.body : "";
    const seen = { method: init.method ?? "GET", url, headers: new Headers(init.headers), body };
    this.seen.push(seen);
    const answer = this.#ready.get(url.pathname)?.shift();
    assert.ok(answer, `nothing is ready for ${url.pathname}`);
    if (answer instanceof Error) throw answer;
    return answer instanceof Response ? answer : answer(seen);
  };

  forms(path = "/oauth2/token"): Record<string, string>[] {
    const asked = this.seen.filter((seen) => seen.url.pathname === path);
    return asked.map((seen) => Object.fromEntries(new URLSearchParams(seen.body)));
  }

  authorizations(path: string): (string | null)[] {
    return this.seen.filter((seen) => seen.url.pathname === path).map((seen) => seen.headers.get("authorization"));
  }

  /** The client under test; its time passes only when it sleeps, or a test says so. */
  agent(options: Options = {}): Valetkey {
    const world = {
      fetch: this.fetch,
      now: () => this.time,
      sleep: async (seconds: number) => {
        this.pauses.push(seconds);
        this.time += seconds * 1000;
      },
    };
    const secret = options.credentials ? {} : { clientSecret: "vks_secret" };
    return new Valetkey({ issuer: ISSUER, clientId: "agt_1", subject: ALICE, environment: {}, world, ...secret, ...options });
  }
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
}

export function token(text = "vkg_one", more: Record<string, unknown> = {}): Response {
  const body = {
    access_token: text,
    issued_token_type: "urn:valetkey:token-type:gateway",
    token_type: "Bearer",
    expires_in: 300,
    scope: "Mail.Read",
    gateway: `${ISSUER}/gateway/entra`,
    grant_id: "gnt_1",
    authorization_details: [],
    ...more,
  };
  return json(200, body, { "X-Valetkey-Event": "evt_1" });
}

export function refusal(
  code: string,
  { status = 400, headers = {}, ...more }: { status?: number; headers?: Record<string, string>; [name: string]: unknown } = {},
): Response {
  return json(status, { error: code, error_description: `because of ${code}`, ...more }, headers);
}

export function denial(
  code: string,
  { status = 403, headers = {}, ...more }: { status?: number; headers?: Record<string, string>; [name: string]: unknown } = {},
): Response {
  const ours = { "X-Valetkey-Decision": "deny", "X-Valetkey-Event": "evt_9", ...headers };
  return refusal(code, { status, headers: ours, ...more });
}
