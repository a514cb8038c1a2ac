/** What only a person can do: they answer on the page `uri`, the agent polls meanwhile. */
export class Interaction {
  /** The page for the person; none when everything is granted already. */
  readonly uri: string | undefined;
  /** `consent`, `approval` or `step_up`. */
  readonly kind: string;
  /** Seconds, counted from the answer that named it. */
  readonly expiresIn: number;
  /** Seconds to leave between polls. */
  readonly interval: number;
  readonly #authReqId: string;

  constructor(of: { uri?: string; kind: string; expiresIn: number; interval: number; authReqId: string }) {
    this.uri = of.uri;
    this.kind = of.kind;
    this.expiresIn = of.expiresIn;
    this.interval = of.interval;
    this.#authReqId = of.authReqId;
  }

  /** The agent's handle. A secret: it stands for the token to come, so it is in nothing that is printed. */
  get authReqId(): string {
    return this.#authReqId;
  }
}
