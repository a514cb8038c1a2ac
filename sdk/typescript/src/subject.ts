import { createHash } from "node:crypto";

export const TYPE_USER = "urn:valetkey:token-type:user";
export const TYPE_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token";
export const TYPE_JWT = "urn:ietf:params:oauth:token-type:jwt";

type Source = string | (() => string | Promise<string>);

let made = 0;

/** A user, or what proves that they are there. */
export class Subject {
  readonly #token: Source;
  /** Tells subjects apart in the cache, without the token itself. */
  readonly key: string;

  constructor(
    readonly tokenType: string,
    token: Source,
  ) {
    this.#token = token;
    const which = typeof token === "string" ? createHash("sha256").update(token).digest("hex") : `function ${++made}`;
    this.key = `${tokenType} ${which}`;
  }

  /** What the request says about the user. */
  async parameters(): Promise<Record<string, string>> {
    const token = typeof this.#token === "string" ? this.#token : await this.#token();
    return { subject_token: token, subject_token_type: this.tokenType };
  }
}

/** The owner of a personal agent, by e-mail or id. */
export const user = (name: string): Subject => new Subject(TYPE_USER, name);

/** A user by their ID token. A function is called for each renewal, because the broker takes only fresh ones. */
export const idToken = (token: Source): Subject => new Subject(TYPE_ID_TOKEN, token);

/** The user for whom a parent agent has sent this one, by the token that it gave along: see `tokenForAgent`. */
export const sentBy = (token: string): Subject => new Subject(TYPE_JWT, token);
