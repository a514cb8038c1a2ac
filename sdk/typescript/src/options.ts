import type { Credentials, Environment } from "./credentials.js";
import type { DpopKey } from "./dpop.js";
import type { Interaction } from "./interaction.js";
import type { Subject } from "./subject.js";
import type { Certificate } from "./tls.js";
import type { Tracer } from "./trace.js";

/** Told when a person has to help. */
export type OnInteraction = (interaction: Interaction) => unknown;

/** Where the client gets time and answers from; for tests. */
export interface World {
  fetch: typeof fetch;
  /** Milliseconds. */
  now: () => number;
  sleep: (seconds: number) => Promise<void>;
}

/** Who the agent is, and how it asks. What is left out comes from the environment. */
export interface Options {
  /** The broker's base URL; else `VALETKEY_ISSUER`. */
  issuer?: string;
  /** The agent's id; else `VALETKEY_CLIENT_ID`. */
  clientId?: string;
  clientSecret?: string;
  credentials?: Credentials;
  /** For whom the agent acts, where a call names nobody. */
  subject?: Subject | string;
  /** Called when a person has to help; the call then waits for them. Without it `InteractionRequired` is thrown. */
  onInteraction?: OnInteraction;
  /** The longest that a person is waited for, in seconds. */
  waitFor?: number;
  /** How many seconds a request may be put off by `Retry-After`. */
  patience?: number;
  /** Headers that pass a trace on, such as `traceparent`; called for every request. */
  trace?: () => Record<string, string>;
  /** Tokens and calls become spans of this tracer, such as one of `@opentelemetry/api`. */
  tracer?: Tracer;
  /** The key that tokens are bound to (RFC 9449); `true` for a new one. */
  dpop?: DpopKey | true;
  /** Connections to the broker and to back ends have this client certificate (RFC 8705); else the environment's. */
  certificate?: Certificate;
  environment?: Environment;
  world?: Partial<World>;
}

/** What a token is asked for. */
export interface Ask {
  subject?: Subject | string;
  /** Left out = all that the person has granted. */
  scope?: string | readonly string[];
  /** Which of the user's accounts. */
  connection?: string;
  /** The provider's own token, where that is safe. */
  providerToken?: boolean;
  /** Narrow this token, or are suggested to the person. */
  limits?: readonly Record<string, unknown>[];
  /** The agent's words for the person. */
  message?: string;
  /** Ties one task's events together. */
  task?: string;
  onInteraction?: OnInteraction;
}
