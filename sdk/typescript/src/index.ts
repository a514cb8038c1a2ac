/** Tokens and calls for AI agents that act for people, through a Valetkey broker. */

export { Client, Valetkey, type Ask, type OnInteraction, type Options, type World } from "./client.js";
export * as credentials from "./credentials.js";
export * from "./errors.js";
export { Interaction } from "./interaction.js";
export { Subject, idToken, sentBy, user } from "./subject.js";
export { Token } from "./token.js";
