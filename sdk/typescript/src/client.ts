import { AsyncLocalStorage } from "node:async_hooks";

import { Client, isReplayable, within } from "./calls.js";
import { certificateOnly, clientSecret, discover, type Credentials, type Environment } from "./credentials.js";
import { DpopKey, Prover, wantsNonce } from "./dpop.js";
import * as errors from "./errors.js";
import type { Interaction } from "./interaction.js";
import type { Ask, OnInteraction, Options, World } from "./options.js";
import { Subject, user } from "./subject.js";
import { certificateIn, fetchWith } from "./tls.js";
import { TokenCache, type Token } from "./token.js";
import { traced, type Tracer } from "./trace.js";
import * as wire from "./wire.js";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const CIBA = "urn:openid:params:grant-type:ciba";
const TOKEN_PATH = "/oauth2/token";
const TYPE_ACCESS = "urn:ietf:params:oauth:token-type:access_token";
/** Longer than the broker waits for a provider. */
const TIMEOUT_MS = 30_000;
const SLOWER_BY_S = 5;
const NAME_THE_USER = "name the user: subject, actingFor(), or subject of the client";
const SAFE_TO_REPEAT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

interface Question {
  audience: string;
  key: string;
  form: () => Promise<Record<string, string>>;
  onInteraction: OnInteraction | undefined;
}

/** An agent's connection to the broker. */
export class Valetkey {
  readonly issuer: string;
  readonly clientId: string;
  readonly #credentials: Credentials;
  readonly #subject: Subject | undefined;
  readonly #onInteraction: OnInteraction | undefined;
  readonly #waitFor: number;
  readonly #patience: number;
  readonly #trace: () => Record<string, string>;
  readonly #tracer: Tracer | undefined;
  readonly #world: World;
  readonly #prover: Prover | undefined;
  readonly #cache = new TokenCache();
  readonly #running = new Map<string, Promise<Token>>();
  readonly #actingFor = new AsyncLocalStorage<Subject>();

  constructor(options: Options = {}) {
    const environment = options.environment ?? process.env;
    this.issuer = named(options.issuer, environment, "VALETKEY_ISSUER").replace(/\/+$/, "");
    this.clientId = named(options.clientId, environment, "VALETKEY_CLIENT_ID");
    if (options.clientSecret !== undefined && options.credentials) {
      throw new errors.CredentialsNotFound("pass clientSecret or credentials, not both");
    }
    const given = options.clientSecret === undefined ? options.credentials : clientSecret(options.clientSecret);
    const certificate = options.certificate ?? certificateIn(environment);
    const found = given ?? (options.certificate ? certificateOnly() : undefined);
    this.#credentials = found ?? discover(environment).credentials;
    const key = options.dpop === true ? DpopKey.generate() : options.dpop;
    this.#prover = key && new Prover(key);
    this.#subject = asSubject(options.subject);
    this.#onInteraction = options.onInteraction;
    this.#waitFor = options.waitFor ?? 86_400;
    this.#patience = options.patience ?? 60;
    this.#trace = options.trace ?? (() => ({}));
    this.#tracer = options.tracer;
    this.#world = {
      fetch: certificate ? fetchWith(certificate) : (...call) => fetch(...call),
      now: () => performance.now(),
      sleep: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)),
      ...options.world,
    };
  }

  /** Names the user for everything that `work` does. */
  actingFor<R>(subject: Subject | string, work: () => R): R {
    return this.#actingFor.run(typeof subject === "string" ? user(subject) : subject, work);
  }

  /** Forgets all tokens. */
  forget(): void {
    this.#cache.clear();
  }

  /** A token for a provider. */
  token(provider: string, ask: Ask = {}): Promise<Token> {
    return this.#toldToken(this.#question(`provider:${provider}`, ask));
  }

  /** A token for an internal back end; without a user the agent acts as itself. */
  tokenForAudience(audience: string, ask: Pick<Ask, "subject" | "scope" | "task"> = {}): Promise<Token> {
    return this.#toldToken(this.#question(audience, ask));
  }

  /**
   * A token to give to a sub-agent, by its id: it acts for the same user, with these scopes at most.
   *
   * The sub-agent shows it with `sentBy`; nobody else can use it, and it opens nothing by itself.
   */
  async tokenForAgent(
    agent: string,
    ask: Pick<Ask, "subject" | "task"> & { scope: string | readonly string[] },
  ): Promise<Token> {
    const form = await this.#question(this.issuer, ask).form();
    if (form["subject_token"] === undefined) throw new errors.ValetkeyError(NAME_THE_USER);
    return this.#bound(await this.#post(TOKEN_PATH, { ...form, may_act: agent }));
  }

  /** Asks the person before the token is needed. Without a `uri` everything is granted already. */
  async ask(provider: string, ask: Ask = {}): Promise<Interaction> {
    const { grant_type: _, ...form } = await this.#question(`provider:${provider}`, ask).form();
    const asked = wire.interaction(await wire.bodyOf(await this.#post("/oauth2/bc-authorize", form)));
    if (!asked) throw new errors.Unreachable("the broker's answer holds no auth_req_id");
    return asked;
  }

  /** Polls until the person has answered; the token comes once. `InteractionRequired` when time is up. */
  async wait(interaction: Interaction, waitFor = this.#waitFor): Promise<Token> {
    const { now, sleep } = this.#world;
    let pace = interaction.interval;
    const until = now() + Math.min(waitFor, interaction.expiresIn) * 1000;
    // Where nobody has to be asked the token is there.
    let pause = interaction.uri === undefined ? 0 : pace;
    for (;;) {
      if (now() + pause * 1000 > until) throw new errors.InteractionRequired("nobody has answered yet", interaction);
      if (pause > 0) await sleep(pause);
      try {
        const form = { grant_type: CIBA, auth_req_id: interaction.authReqId };
        return await this.#bound(await this.#post(TOKEN_PATH, form));
      } catch (error) {
        if (error instanceof errors.SlowDown) pace += SLOWER_BY_S;
        else if (
          !(error instanceof errors.AuthorizationPending) &&
          !(error instanceof errors.TemporarilyUnavailable) &&
          !(error instanceof errors.Unreachable)
        ) {
          throw error;
        }
        pause = pace;
      }
    }
  }

  /** Ends a token before its time. */
  async revoke(token: Token): Promise<void> {
    await this.#post("/oauth2/revoke", { token: token.accessToken });
  }

  /**
   * A client for a provider's own API, through the gateway: `client.fetch("graph/v1.0/me")`.
   *
   * It renews tokens, waits where `Retry-After` says so, and throws `Denied` for what the gateway refuses. The
   * provider's own answers pass, whatever their status.
   */
  clientFor(provider: string, ask: Ask = {}): Client {
    return this.#client(`${this.issuer}/gateway/${provider}/`, `provider:${provider}`, ask);
  }

  /** A client for an internal back end at `base`, with delegation JWTs; without a user as the agent itself. */
  clientForAudience(audience: string, base: string, ask: Pick<Ask, "subject" | "scope" | "task"> = {}): Client {
    return this.#client(`${base.replace(/\/+$/, "")}/`, audience, ask);
  }

  /**
   * The function runs only with the person's grant, and gets the provider's client as its first argument.
   *
   * The grant is asked for when it is called: `InteractionRequired` comes before its first line runs.
   */
  requiresGrant<A extends unknown[], R>(
    provider: string,
    ask: Ask,
    work: (client: Client, ...rest: A) => R | Promise<R>,
  ): (...rest: A) => Promise<R> {
    return async (...rest) => {
      await this.token(provider, ask);
      return work(this.clientFor(provider, ask), ...rest);
    };
  }

  #question(audience: string, ask: Ask): Question {
    const subject = asSubject(ask.subject) ?? this.#actingFor.getStore() ?? this.#subject;
    if (!subject && audience.startsWith("provider:")) {
      throw new errors.ValetkeyError(NAME_THE_USER);
    }
    const scopes = typeof ask.scope === "string" ? ask.scope.split(" ") : [...(ask.scope ?? [])];
    const scope = [...new Set(scopes.filter(Boolean))].sort().join(" ");
    const details = ask.limits?.length
      ? JSON.stringify(ask.limits.map((limit) => ({ type: "valetkey_limit", ...limit })))
      : undefined;
    const asked = {
      audience,
      scope: scope || undefined,
      connection: ask.connection,
      requested_token_type: ask.providerToken ? TYPE_ACCESS : undefined,
      authorization_details: details,
      task: ask.task,
    };
    return {
      audience,
      // The words for the person make no difference.
      key: JSON.stringify([subject?.key, asked]),
      form: async () => ({
        ...(subject
          ? { grant_type: EXCHANGE, ...(await subject.parameters()) }
          : { grant_type: "client_credentials" }),
        ...withoutUndefined({ ...asked, binding_message: ask.message }),
      }),
      onInteraction: ask.onInteraction ?? this.#onInteraction,
    };
  }

  /** A token, within a span. */
  #toldToken(question: Question): Promise<Token> {
    return traced(this.#tracer, "valetkey token", async (note) => {
      note({ audience: question.audience, client_id: this.clientId });
      const token = await this.#token(question);
      note({ grant_id: token.grantId, event: token.event });
      return token;
    });
  }

  /** A token from the cache, or a new one; of those who ask at the same moment one asks the broker. */
  async #token(question: Question): Promise<Token> {
    const kept = this.#cache.get(question.key, this.#world.now());
    if (kept) return kept;
    const { onInteraction } = question;
    // Whoever does not want to wait for a person does not wait behind somebody who does.
    if (!onInteraction) return this.#renewed(question);
    return this.#once(`person ${question.key}`, async () => {
      try {
        return await this.#renewed(question);
      } catch (error) {
        if (!(error instanceof errors.InteractionRequired)) throw error;
        await onInteraction(error.interaction);
        const token = await this.wait(error.interaction).catch((error: unknown) => {
          // Another process of this agent has collected it: the grant is there all the same.
          if (error instanceof errors.InvalidGrant) return this.#renewed(question);
          throw error;
        });
        this.#cache.put(question.key, token);
        return token;
      }
    });
  }

  #renewed(question: Question): Promise<Token> {
    return this.#once(question.key, async () => {
      const token = await this.#bound(await this.#post(TOKEN_PATH, await question.form()));
      this.#cache.put(question.key, token);
      return token;
    });
  }

  /** The token of an answer. One that anybody could use does not pass for one that only the key's holder can. */
  async #bound(answer: Response): Promise<Token> {
    const token = await wire.token(answer, this.#world.now());
    if (this.#prover && !token.isBoundToKey) {
      throw new errors.NotBound("the broker's token is not bound to the DPoP key: it was not used");
    }
    return token;
  }

  async #once(key: string, work: () => Promise<Token>): Promise<Token> {
    const running = this.#running.get(key);
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  /** One request of the agent; made again while the broker says when, within the patience. */
  async #post(path: string, form: Record<string, string>): Promise<Response> {
    const url = this.issuer + path;
    const prover = path === TOKEN_PATH ? this.#prover : undefined;
    let mayFetchNonce = prover !== undefined;
    let patience = this.#patience;
    let pause = 0.5;
    for (;;) {
      const asking = { issuer: this.issuer, clientId: this.clientId, fetch: this.#world.fetch };
      const proof = await this.#credentials.proof(asking);
      let refused: errors.ValetkeyError;
      let wait: number | undefined;
      const answer = await this.#world
        .fetch(url, {
          method: "POST",
          headers: { ...this.#trace(), ...prover?.header("POST", new URL(url)), Accept: "application/json" },
          body: new URLSearchParams({ ...form, ...proof }),
          redirect: "error",
          signal: AbortSignal.timeout(TIMEOUT_MS),
        })
        .catch(() => undefined);
      if (answer) prover?.learn(new URL(url), answer);
      if (answer === undefined) {
        refused = new errors.Unreachable(`no answer from ${this.issuer}`);
        wait = pause;
      } else if (answer.ok) {
        return answer;
      } else {
        const error = await wire.oauthError(answer);
        if (mayFetchNonce && error instanceof errors.NonceNeeded) {
          mayFetchNonce = false;
          continue;
        }
        refused = error;
        // `slow_down` for a poll has status 400: whoever polls minds it.
        wait = answer.status === 429 || answer.status === 503 ? error.retryAfter : undefined;
      }
      if (wait === undefined || wait > patience) throw refused;
      await this.#world.sleep(wait);
      patience -= wait;
      pause *= 2;
      mayFetchNonce = prover !== undefined;
    }
  }

  #client(base: string, audience: string, ask: Ask): Client {
    // Whom it is for is settled when the client is made, not when it is used.
    const question = this.#question(audience, ask);
    return new Client(base, (path, init) => this.#toldCall(base, question, path, init));
  }

  /** One call, within a span. */
  #toldCall(base: string, question: Question, path: string | URL, init: RequestInit): Promise<Response> {
    return traced(this.#tracer, "valetkey call", async (note) => {
      note({ audience: question.audience, method: (init.method ?? "GET").toUpperCase() });
      const answer = await this.#call(base, question, path, init);
      note({ event: answer.headers.get("x-valetkey-event") ?? undefined }, answer.status);
      return answer;
    });
  }

  async #call(base: string, question: Question, path: string | URL, init: RequestInit): Promise<Response> {
    const url = within(base, path);
    const method = (init.method ?? "GET").toUpperCase();
    const canRepeat = isReplayable(init.body);
    let patience = this.#patience;
    let pause = 1;
    let isRenewed = false;
    let isAsked = false;
    let mayFetchNonce = true;
    let token = await this.#token(question);
    for (;;) {
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(this.#trace())) headers.set(name, value);
      const bound = token.isBoundToKey ? this.#prover : undefined;
      headers.set("Authorization", `${bound ? "DPoP" : "Bearer"} ${token.accessToken}`);
      if (bound) headers.set("DPoP", bound.header(method, url, token.accessToken).DPoP);
      const answer = await this.#world.fetch(url, { ...init, method, headers, redirect: "manual" });
      this.#prover?.learn(url, answer);
      if (bound && mayFetchNonce && canRepeat && wantsNonce(answer)) {
        await answer.body?.cancel();
        mayFetchNonce = false;
        continue;
      }
      const isOurs = answer.headers.get("x-valetkey-decision") === "deny";
      if (answer.status === 401 && canRepeat && !isRenewed) {
        await answer.body?.cancel();
        isRenewed = true;
        this.#cache.drop(question.key, token);
        token = await this.#token(question);
        continue;
      }
      if (answer.status === 429 || (answer.status === 503 && (isOurs || SAFE_TO_REPEAT.has(method)))) {
        const wait = wire.retryAfter(answer) ?? pause;
        if (canRepeat && wait <= patience) {
          await answer.body?.cancel();
          await this.#world.sleep(wait);
          patience -= wait;
          pause *= 2;
          mayFetchNonce = true;
          continue;
        }
      }
      if (!isOurs) return answer;
      const denied = await wire.denial(answer);
      const { interaction } = denied;
      const { onInteraction } = question;
      if (!interaction || !onInteraction || isAsked || !canRepeat) throw denied;
      isAsked = true;
      token = await this.#widened(interaction, onInteraction);
      // What the person has added is in this token; later ones have it when they are asked for anew.
      this.#cache.drop(question.key);
    }
  }

  /** The token that comes of a denial; calls that were denied at the same moment share it. */
  async #widened(asked: Interaction, onInteraction: OnInteraction): Promise<Token> {
    const kept = this.#cache.get(asked.authReqId, this.#world.now());
    if (kept) return kept;
    return this.#once(`person ${asked.authReqId}`, async () => {
      await onInteraction(asked);
      const token = await this.wait(asked);
      this.#cache.put(asked.authReqId, token);
      return token;
    });
  }
}

function named(given: string | undefined, environment: Environment, name: string): string {
  const text = given || environment[name];
  if (!text) throw new errors.CredentialsNotFound(`set ${name}, or pass it to the client`);
  return text;
}

function asSubject(subject: Subject | string | undefined): Subject | undefined {
  return typeof subject === "string" ? user(subject) : subject;
}

function withoutUndefined(fields: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries);
}
