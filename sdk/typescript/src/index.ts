/** Tokens and calls for AI agents that act for people, through a Valetkey broker. */

export { Client } from "./calls.js";
export { Valetkey } from "./client.js";
export * as credentials from "./credentials.js";
export { DpopKey } from "./dpop.js";
export * from "./errors.js";
export { Interaction } from "./interaction.js";
export type { Ask, OnInteraction, Options, World } from "./options.js";
export { Subject, idToken, sentBy, user } from "./subject.js";
export type { Certificate } from "./tls.js";
export { Token } from "./token.js";
export type { Span, Tracer } from "./trace.js";
