/** Somebody with a browser, as far as these flows need one: cookies, redirects, plain forms. */

import type { Interaction } from "../src/index.js";

const MOST_STEPS = 30;

/** Opens the page of an interaction, signs in, and agrees to everything. */
export async function agrees(
  asked: Interaction,
  who: { email: string; password: string },
  send: typeof fetch = fetch,
): Promise<void> {
  const cookies = new Map<string, Map<string, string>>();
  let url = new URL(asked.uri ?? "");
  let body: URLSearchParams | undefined;
  for (let step = 0; step < MOST_STEPS; step++) {
    const jar = cookies.get(url.origin) ?? new Map<string, string>();
    cookies.set(url.origin, jar);
    const answer = await send(url, {
      method: body ? "POST" : "GET",
      headers: {
        "Accept-Language": "en",
        Cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
        ...(body ? { Origin: url.origin } : {}),
      },
      body: body ?? null,
      redirect: "manual",
    });
    for (const cookie of answer.headers.getSetCookie()) {
      const [name = "", value = ""] = (cookie.split(";")[0] ?? "").split("=", 2);
      jar.set(name, value);
    }
    const location = answer.headers.get("location");
    if (location) {
      [url, body] = [new URL(location, url), undefined];
      continue;
    }
    const html = await answer.text();
    if (!answer.ok) throw new Error(`${url.pathname} answered ${answer.status}`);
    const form = filled(html, who);
    if (!form) return;
    [url, body] = [new URL(form.action, url), form.fields];
  }
  throw new Error(`no end after ${MOST_STEPS} pages`);
}

/** The form that a person would send, filled in. */
function filled(html: string, who: { email: string; password: string }): { action: string; fields: URLSearchParams } | undefined {
  for (const [, tag = "", inner = ""] of html.matchAll(/<form([^>]*)>([\s\S]*?)<\/form>/g)) {
    const action = attribute(tag, "action") ?? "";
    const fields = new URLSearchParams();
    for (const [input = ""] of inner.matchAll(/<input[^>]*>/g)) {
      const name = attribute(input, "name");
      const type = attribute(input, "type") ?? "text";
      // A person who agrees to everything ticks what is asked, and adds no limits.
      if (!name || (type === "checkbox" && name !== "scope") || (type === "radio" && !/\schecked/.test(input))) continue;
      fields.append(name, attribute(input, "value") ?? "");
    }
    for (const [, select = "", options = ""] of inner.matchAll(/<select([^>]*)>([\s\S]*?)<\/select>/g)) {
      const chosen = /<option[^>]*\sselected[^>]*>/.exec(options)?.[0] ?? /<option[^>]*>/.exec(options)?.[0] ?? "";
      fields.append(attribute(select, "name") ?? "", attribute(chosen, "value") ?? "");
    }
    if (fields.has("password")) {
      fields.set("username", who.email);
      fields.set("password", who.password);
      return { action, fields };
    }
    const decision = ["allow", "agree"].find((value) => inner.includes(`name="decision" value="${value}"`));
    if (decision) fields.append("decision", decision);
    // Also the vendor's self-submitting answer, and our own page that leads to the company's sign-in.
    if (decision || fields.has("code") || action.startsWith("/login")) return { action, fields };
  }
  return undefined;
}

function attribute(tag: string, name: string): string | undefined {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1];
  const named: Record<string, string> = { amp: "&", quot: '"', lt: "<", gt: ">" };
  return found?.replace(/&(?:#(\d+)|(\w+));/g, (whole, code?: string, word = "") =>
    code ? String.fromCodePoint(Number(code)) : (named[word] ?? whole),
  );
}
