/** Spans, for whoever passes a tracer; this package needs none. */

import { Denied, OAuthError } from "./errors.js";

/** What is used of the `Span` of `@opentelemetry/api`. */
export interface Span {
  setAttribute(name: string, value: string | number): unknown;
  recordException(error: Error): void;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

/** What is used of the `Tracer` of `@opentelemetry/api`. */
export interface Tracer {
  startActiveSpan<R>(name: string, work: (span: Span) => R): R;
}

/** `SpanStatusCode.ERROR` of `@opentelemetry/api`. */
const FAILED = 2;

/** Sets attributes below `valetkey.`; never tokens. */
export type Note = (attributes: Record<string, string | undefined>, status?: number) => void;

/** A span around the work; an error ends it as failed. */
export async function traced<R>(tracer: Tracer | undefined, name: string, work: (note: Note) => Promise<R>): Promise<R> {
  if (!tracer) return work(() => {});
  return tracer.startActiveSpan(name, async (span) => {
    const note: Note = (attributes, status) => {
      for (const [name, value] of Object.entries(attributes)) {
        if (value !== undefined) span.setAttribute(`valetkey.${name}`, value);
      }
      if (status !== undefined) span.setAttribute("http.response.status_code", status);
    };
    try {
      return await work(note);
    } catch (error) {
      if (error instanceof Denied) note({ decision: "deny", event: error.event }, error.status);
      else if (error instanceof OAuthError) note({ event: error.event }, error.status);
      const failure = error instanceof Error ? error : new Error(String(error));
      span.recordException(failure);
      span.setStatus({ code: FAILED, message: failure.message });
      throw error;
    } finally {
      span.end();
    }
  });
}
