/** Proofs of possession (DPoP, RFC 9449): tokens that are worth nothing without the agent's key. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

import { CredentialsNotFound } from "./errors.js";
import { SigningKey, sha256 } from "./keys.js";

/**
 * A key that the agent's tokens are bound to.
 *
 * One for a process is enough: it can be made anew at every start, because tokens do not outlive it.
 */
export class DpopKey {
  /** What tokens say that they are bound to (`cnf.jkt`, RFC 7638). */
  readonly thumbprint: string;
  readonly #key: SigningKey;

  private constructor(key: SigningKey) {
    this.#key = key;
    this.thumbprint = key.thumbprint();
  }

  /** A new key, which is written nowhere. */
  static generate(): DpopKey {
    return new DpopKey(SigningKey.generate());
  }

  /** An unencrypted PEM key. */
  static pem(pem: string): DpopKey {
    return new DpopKey(SigningKey.load(pem));
  }

  /** A key in a PEM file, for processes that share tokens. */
  static file(path: string): DpopKey {
    let pem: string;
    try {
      pem = readFileSync(path, "utf8");
    } catch {
      throw new CredentialsNotFound(`${path}: it cannot be read`);
    }
    return DpopKey.pem(pem);
  }

  /** A proof for one request, with the token that it carries, if it carries one. */
  proof(method: string, url: URL, with_: { nonce?: string | undefined; token?: string | undefined } = {}): string {
    const claims = {
      jti: randomUUID(),
      htm: method,
      htu: url.origin + url.pathname,
      iat: Math.floor(Date.now() / 1000),
      ...(with_.nonce === undefined ? {} : { nonce: with_.nonce }),
      ...(with_.token === undefined ? {} : { ath: sha256(with_.token) }),
    };
    return this.#key.sign(claims, { typ: "dpop+jwt", jwk: this.#key.publicJwk() });
  }
}

/** Makes proofs with the nonce that their server gave last (section 8). */
export class Prover {
  readonly #key: DpopKey;
  readonly #nonces = new Map<string, string>();

  constructor(key: DpopKey) {
    this.#key = key;
  }

  /** The header of one request. */
  header(method: string, url: URL, token?: string): { DPoP: string } {
    return { DPoP: this.#key.proof(method, url, { nonce: this.#nonces.get(url.origin), token }) };
  }

  /** Keeps the answer's nonce for the next request to the same server. */
  learn(url: URL, answer: Response): void {
    const nonce = answer.headers.get("dpop-nonce");
    if (nonce) this.#nonces.set(url.origin, nonce);
  }
}

/** Whether a call was refused for the lack of a fresh nonce (section 9). */
export function wantsNonce(answer: Response): boolean {
  const challenge = answer.headers.get("www-authenticate") ?? "";
  return answer.status === 401 && /^dpop /i.test(challenge) && challenge.includes("use_dpop_nonce");
}
