import * as errors from "./errors.js";

/** Calls below one address, with a token that is renewed. */
export class Client {
  readonly #send: (path: string | URL, init: RequestInit) => Promise<Response>;

  /** @internal */
  constructor(
    readonly base: string,
    send: (path: string | URL, init: RequestInit) => Promise<Response>,
  ) {
    this.#send = send;
  }

  /** Like the global `fetch`, with paths below `base`. Redirects are not followed. */
  fetch(path: string | URL, init: RequestInit = {}): Promise<Response> {
    return this.#send(path, init);
  }

  /** The JSON of a successful answer; another status is an error. */
  async json<T = unknown>(path: string | URL, init: RequestInit = {}): Promise<T> {
    const answer = await this.#send(path, init);
    if (!answer.ok) throw new errors.ValetkeyError(`the provider answered ${answer.status}`);
    return (await answer.json()) as T;
  }
}

/** The address of a call; anywhere else than below `base` the token is not sent. */
export function within(base: string, path: string | URL): URL {
  const isAbsolute = path instanceof URL || /^[a-z][a-z0-9+.-]*:/i.test(path);
  const url = isAbsolute ? new URL(path) : new URL(`./${path.replace(/^\/+/, "")}`, base);
  const allowed = new URL(base);
  if (url.origin !== allowed.origin || !url.pathname.startsWith(allowed.pathname) || url.username || url.password) {
    throw new errors.WrongAddress(`this client sends its token below ${base} only`);
  }
  return url;
}

/** Whether a body can be sent again. */
export function isReplayable(body: unknown): boolean {
  return !(body instanceof ReadableStream) && !isIterable(body);
}

function isIterable(body: unknown): boolean {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
