/** How many tokens a cache holds; the one that was used longest ago goes first. */
export const MOST_KEPT = 1024;

/** A token that the broker has issued. */
export class Token {
  /** Milliseconds, on the client's clock. */
  readonly expiresAt: number;
  readonly scope: readonly string[];
  readonly issuedTokenType: string;
  /** How it is shown: `Bearer`, or `DPoP` where it is bound to a key. */
  readonly tokenType: string;
  /** Where it works, for gateway tokens. */
  readonly gateway: string | undefined;
  readonly grantId: string | undefined;
  /** The limits in force. */
  readonly authorizationDetails: readonly Record<string, unknown>[];
  readonly event: string | undefined;
  readonly #text: string;
  readonly #fresh: number;

  constructor(of: {
    accessToken: string;
    now: number;
    expiresIn: number;
    scope: string;
    issuedTokenType: string;
    tokenType?: string;
    gateway?: string | undefined;
    grantId?: string | undefined;
    authorizationDetails?: Record<string, unknown>[];
    event?: string | undefined;
  }) {
    this.#text = of.accessToken;
    const life = of.expiresIn * 1000;
    this.expiresAt = of.now + life;
    this.#fresh = this.expiresAt - Math.min(30_000, life / 5);
    this.scope = of.scope.split(" ").filter(Boolean);
    this.issuedTokenType = of.issuedTokenType;
    this.tokenType = of.tokenType ?? "Bearer";
    this.gateway = of.gateway;
    this.grantId = of.grantId;
    this.authorizationDetails = of.authorizationDetails ?? [];
    this.event = of.event;
  }

  /** The token itself; in nothing that is printed or turned into JSON. */
  get accessToken(): string {
    return this.#text;
  }

  /** Whether it works with proofs of the agent's key only (RFC 9449). */
  get isBoundToKey(): boolean {
    return this.tokenType.toLowerCase() === "dpop";
  }

  /** Whether it is worth sending: renewed a little before its end, so that no call meets the end. */
  isFresh(now: number): boolean {
    return now < this.#fresh;
  }
}

/** Tokens by what was asked for. In memory only. */
export class TokenCache {
  readonly #kept = new Map<string, Token>();

  /** A token that is still worth sending. */
  get(key: string, now: number): Token | undefined {
    const token = this.#kept.get(key);
    if (!token) return undefined;
    this.#kept.delete(key);
    if (!token.isFresh(now)) return undefined;
    // A Map keeps the order of insertion: the last one is the one that was used last.
    this.#kept.set(key, token);
    return token;
  }

  put(key: string, token: Token): void {
    this.#kept.delete(key);
    this.#kept.set(key, token);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT) break;
      this.#kept.delete(oldest);
    }
  }

  /** Forgets a token; with `token`, only if it is still that one. */
  drop(key: string, token?: Token): void {
    if (token === undefined || this.#kept.get(key) === token) this.#kept.delete(key);
  }

  clear(): void {
    this.#kept.clear();
  }
}
