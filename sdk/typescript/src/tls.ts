/** Client certificates (RFC 8705). The global `fetch` has no place for one; this is as much of it as the client needs. */

import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { Readable } from "node:stream";
import type { ReadableStream as NodeStream } from "node:stream/web";
import { createSecureContext, rootCertificates } from "node:tls";

import { isReplayable } from "./calls.js";
import type { Environment } from "./credentials.js";
import { CredentialsNotFound } from "./errors.js";

/** A certificate with its key, in PEM. */
export interface Certificate {
  cert: string;
  key: string;
  /** A further authority, beside those that Node brings, by which servers' certificates are checked. */
  ca?: string;
}

/** What `VALETKEY_CLIENT_CERTIFICATE_FILE` names; the key may be in a file of its own. */
export function certificateIn(environment: Environment): Certificate | undefined {
  const path = environment["VALETKEY_CLIENT_CERTIFICATE_FILE"];
  if (!path) return undefined;
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      throw new CredentialsNotFound(`${path}: it cannot be read`);
    }
  };
  return { cert: read(path), key: read(environment["VALETKEY_CLIENT_CERTIFICATE_KEY_FILE"] || path) };
}

/** A `fetch` whose https connections have that certificate. Redirects are never followed. */
export function fetchWith(certificate: Certificate): typeof fetch {
  const { ca, cert, key } = certificate;
  let agent: Agent;
  try {
    const secureContext = createSecureContext({ cert, key, ...(ca ? { ca: [...rootCertificates, ca] } : {}) });
    agent = new Agent({ keepAlive: true, secureContext });
  } catch {
    throw new CredentialsNotFound("the client certificate and its key cannot be read");
  }
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    // Only the platform's own surroundings are asked without TLS: they have no use for a certificate.
    if (url.protocol !== "https:") return fetch(input, init);
    return send(agent, url, init);
  };
}

/** Statuses whose answers have no body. */
const BARE = new Set([204, 205, 304]);

async function send(agent: Agent, url: URL, init: RequestInit): Promise<Response> {
  // It reads what `fetch` takes: all kinds of bodies, and the type that each has by itself.
  const asked = new Request(url, { ...init, duplex: "half" } as RequestInit);
  const body = isReplayable(init.body) ? Buffer.from(await asked.arrayBuffer()) : asked.body;
  const headers = Object.fromEntries(asked.headers);
  if (Buffer.isBuffer(body) && (body.length > 0 || asked.method === "POST")) {
    headers["content-length"] = String(body.length);
  }
  return new Promise((done, failed) => {
    const call = request(url, { agent, method: asked.method, headers, signal: asked.signal }, (came) => {
      const status = came.statusCode ?? 0;
      if (init.redirect === "error" && status >= 300 && status < 400 && came.headers.location) {
        came.destroy();
        return failed(new TypeError("redirected"));
      }
      const isBare = BARE.has(status);
      if (isBare) came.resume();
      const content = isBare ? null : (Readable.toWeb(came) as ReadableStream<Uint8Array>);
      const pairs = came.rawHeaders.flatMap((name, at, all): [string, string][] =>
        at % 2 === 0 ? [[name, all[at + 1] ?? ""]] : [],
      );
      done(new Response(content, { status, statusText: came.statusMessage ?? "", headers: pairs }));
    });
    call.once("error", failed);
    if (Buffer.isBuffer(body)) call.end(body);
    else if (body) Readable.fromWeb(body as NodeStream).once("error", failed).pipe(call);
    else call.end();
  });
}
