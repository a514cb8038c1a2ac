import type { Interaction } from "./interaction.js";

/** Everything that this package throws. No error holds a token or a secret. */
export class ValetkeyError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Nothing says who this agent is, or what it was given cannot be used. */
export class CredentialsNotFound extends ValetkeyError {}

/** The broker did not answer, or not in a form that can be read. Nothing was released; try again. */
export class Unreachable extends ValetkeyError {}

/** A request to somewhere else than where the token works. The token was not sent. */
export class WrongAddress extends ValetkeyError {}

/** A token came that is not bound to the agent's DPoP key. It was not used. */
export class NotBound extends ValetkeyError {}

/** What an answer of the broker says beside its code. */
export interface Refused {
  status: number;
  event?: string | undefined;
  retryAfter?: number | undefined;
}

/** A refusal of the broker's OAuth endpoints (RFC 6749, section 5.2). `code` tells which. */
export class OAuthError extends ValetkeyError {
  readonly status: number;
  /** The event in the broker's log: name it when you ask an administrator. */
  readonly event: string | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(
    readonly code: string,
    readonly description: string,
    of: Refused,
  ) {
    super(`${code}: ${description}`);
    this.status = of.status;
    this.event = of.event;
    this.retryAfter = of.retryAfter;
  }
}

/** The request cannot be understood, or the user in it is not one that this agent may act for. */
export class InvalidRequest extends OAuthError {}
/** The agent is unknown or its proof is wrong. */
export class InvalidClient extends OAuthError {}
/** The agent is suspended or retired, or of a kind that may not do this. */
export class UnauthorizedClient extends OAuthError {}
/** A scope is unknown, or above the agent's ceiling. */
export class InvalidScope extends OAuthError {}
/** The provider, connection or audience is unknown or not open to this agent. */
export class InvalidTarget extends OAuthError {}
/** The grant, or the handle of an interaction, has ended. */
export class InvalidGrant extends OAuthError {}
/** A limit that this provider does not offer. */
export class InvalidAuthorizationDetails extends OAuthError {}
/** The person has refused, or an administrator has stopped it. */
export class AccessDenied extends OAuthError {}
/** Nobody answered in time. Ask again. */
export class ExpiredToken extends OAuthError {}
/** The person has not answered yet. */
export class AuthorizationPending extends OAuthError {}
/** Asked too often, or five questions of this agent to the person are open already: nobody has refused anything. */
export class SlowDown extends OAuthError {}
/** Nothing can be released safely at present. Try again after `retryAfter` seconds. */
export class TemporarilyUnavailable extends OAuthError {}

/** The proof of the DPoP key was refused, or this agent's tokens have to be bound and nothing was there to bind to. */
export class InvalidProof extends OAuthError {}
/** The proof had no fresh nonce. The client tries again by itself; this is thrown when that did not help. */
export class NonceNeeded extends OAuthError {}

/** A person has to agree first: show them `interaction.uri`. */
export class InteractionRequired extends OAuthError {
  constructor(
    description: string,
    readonly interaction: Interaction,
    event?: string,
  ) {
    super("interaction_required", `${description}; open ${interaction.uri ?? ""}`, { status: 400, event });
  }
}

/** The limit that a call met. */
export interface Limit {
  kind: string;
  allowed?: unknown;
  asked?: unknown;
}

/** The gateway refused a call. The provider has not seen it, or its answer was withheld. */
export class Denied extends ValetkeyError {
  readonly status: number;
  readonly limit: Limit | undefined;
  /** Where a person can widen the grant, if they want to. */
  readonly interaction: Interaction | undefined;
  readonly event: string | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(
    readonly code: string,
    readonly description: string,
    of: Refused & { limit?: Limit | undefined; interaction?: Interaction | undefined },
  ) {
    super(of.interaction ? `${code}: ${description}; open ${of.interaction.uri ?? ""}` : `${code}: ${description}`);
    this.status = of.status;
    this.limit = of.limit;
    this.interaction = of.interaction;
    this.event = of.event;
    this.retryAfter = of.retryAfter;
  }
}

/** No scope of the token opens this call. */
export class InsufficientScope extends Denied {}
/** No scope at all opens this call. */
export class RouteNotAllowed extends Denied {}
/** A limit of the grant or the token; with `retryAfter`, a budget that fills again. */
export class LimitExceeded extends Denied {}
/** The user has to connect the account again. */
export class RepairNeeded extends Denied {}
/** The gateway takes no token of this grant any more, also not a new one. */
export class TokenRejected extends Denied {}
/** The path, query or body can be read in two ways. Send the plain form. */
export class AmbiguousCall extends Denied {}
/** The provider answered badly, late or not at all. */
export class UpstreamFailed extends Denied {}
/** The gateway cannot decide safely at present. */
export class GatewayUnavailable extends Denied {}
/** The gateway did not take the proof of the DPoP key. A body that was streamed could not be sent again: call anew. */
export class ProofRejected extends Denied {}
