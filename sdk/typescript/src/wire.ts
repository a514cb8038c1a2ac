import * as errors from "./errors.js";
import { Interaction } from "./interaction.js";
import { Token } from "./token.js";

type Body = Record<string, unknown>;

const OAUTH: Record<string, typeof errors.OAuthError> = {
  invalid_request: errors.InvalidRequest,
  invalid_client: errors.InvalidClient,
  unauthorized_client: errors.UnauthorizedClient,
  invalid_scope: errors.InvalidScope,
  invalid_target: errors.InvalidTarget,
  invalid_grant: errors.InvalidGrant,
  invalid_authorization_details: errors.InvalidAuthorizationDetails,
  access_denied: errors.AccessDenied,
  expired_token: errors.ExpiredToken,
  authorization_pending: errors.AuthorizationPending,
  slow_down: errors.SlowDown,
  temporarily_unavailable: errors.TemporarilyUnavailable,
  invalid_dpop_proof: errors.InvalidProof,
  use_dpop_nonce: errors.NonceNeeded,
};

const DENIALS: Record<string, typeof errors.Denied> = {
  insufficient_scope: errors.InsufficientScope,
  route_not_allowed: errors.RouteNotAllowed,
  limit_exceeded: errors.LimitExceeded,
  interaction_required: errors.RepairNeeded,
  invalid_token: errors.TokenRejected,
  invalid_request: errors.AmbiguousCall,
  upstream_error: errors.UpstreamFailed,
  temporarily_unavailable: errors.GatewayUnavailable,
  invalid_dpop_proof: errors.ProofRejected,
  use_dpop_nonce: errors.ProofRejected,
};

const text = (body: Body, name: string): string | undefined => {
  const value = body[name];
  return typeof value === "string" ? value : undefined;
};
const number = (body: Body, name: string): number | undefined => {
  const value = body[name];
  return typeof value === "number" ? value : undefined;
};
const event = (response: Response): string | undefined => response.headers.get("x-valetkey-event") ?? undefined;

/** The JSON object of an answer. */
export async function bodyOf(response: Response): Promise<Body> {
  const body: unknown = await response.json().catch(() => undefined);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new errors.Unreachable(`what answered is not the broker (status ${response.status})`);
  }
  return body as Body;
}

/** The token of a successful answer. */
export async function token(response: Response, now: number): Promise<Token> {
  const body = await bodyOf(response);
  const [accessToken, expiresIn] = [text(body, "access_token"), number(body, "expires_in")];
  const issuedTokenType = text(body, "issued_token_type");
  if (accessToken === undefined || expiresIn === undefined || issuedTokenType === undefined) {
    throw new errors.Unreachable("the broker's answer holds no token");
  }
  const details = body["authorization_details"];
  return new Token({
    accessToken,
    now,
    expiresIn,
    issuedTokenType,
    tokenType: text(body, "token_type") ?? "Bearer",
    scope: text(body, "scope") ?? "",
    gateway: text(body, "gateway"),
    grantId: text(body, "grant_id"),
    authorizationDetails: Array.isArray(details) ? (details as Body[]) : [],
    event: event(response),
  });
}

/** What a person has to do, where an answer says so. */
export function interaction(body: Body): Interaction | undefined {
  const [authReqId, uri] = [text(body, "auth_req_id"), text(body, "interaction_uri")];
  if (authReqId === undefined) return undefined;
  return new Interaction({
    authReqId,
    ...(uri === undefined ? {} : { uri }),
    kind: text(body, "interaction") ?? "consent",
    expiresIn: number(body, "expires_in") ?? 86_400,
    interval: number(body, "interval") ?? 5,
  });
}

/** The error of a refused request. */
export async function oauthError(response: Response): Promise<errors.OAuthError> {
  const body = await bodyOf(response);
  const [code, words] = [text(body, "error") ?? "unknown", text(body, "error_description") ?? "no details"];
  const asked = interaction(body);
  if (code === "interaction_required" && asked) return new errors.InteractionRequired(words, asked, event(response));
  const Kind = OAUTH[code] ?? errors.OAuthError;
  return new Kind(code, words, { status: response.status, event: event(response), retryAfter: retryAfter(response) });
}

/** The error of a call that the gateway refused. */
export async function denial(response: Response): Promise<errors.Denied> {
  const read: unknown = await response.json().catch(() => ({}));
  const body = (typeof read === "object" && read !== null ? read : {}) as Body;
  const code = text(body, "error") ?? "denied";
  const Kind = DENIALS[code] ?? errors.Denied;
  const limit = body["limit"];
  return new Kind(code, text(body, "error_description") ?? "no details", {
    status: response.status,
    limit: typeof limit === "object" && limit !== null ? (limit as errors.Limit) : undefined,
    interaction: interaction(body),
    event: event(response),
    retryAfter: retryAfter(response),
  });
}

/** Seconds to wait, from a number or a date (RFC 9110, section 10.2.3). */
export function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  if (value === null) return undefined;
  if (/^[0-9]+$/.test(value)) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, (at - Date.now()) / 1000);
}
