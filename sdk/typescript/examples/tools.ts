/**
 * Plain tool calling, with whatever client speaks to the model: `chat` takes the messages and the tools and returns the
 * model's message in OpenAI's form.
 *
 * The model never sees a token. Where the person has to agree first, `onInteraction` of the client tells them and the tool
 * waits; what the gateway refuses comes back to the model in words, so that it can do something else.
 */

import { Denied, type Valetkey } from "valetkey";

export interface ToolCall {
  id: string;
  function: { name: string; arguments: string };
}

export interface Message {
  role: "user" | "assistant" | "tool";
  content: string | null;
  tool_calls?: ToolCall[];
  tool_call_id?: string;
}

const MOST_TURNS = 8;

export const TOOLS = [
  {
    type: "function",
    function: {
      name: "newest_mail",
      description: "The newest messages of the person's mailbox: subject and preview.",
      parameters: { type: "object", properties: { most: { type: "integer", minimum: 1, maximum: 20 } } },
    },
  },
  {
    type: "function",
    function: { name: "events", description: "The person's events.", parameters: { type: "object", properties: {} } },
  },
] as const;

/** What a tool finds. The gateway decides what it may see. */
export async function callTool(agent: Valetkey, name: string, input: Record<string, unknown>): Promise<unknown> {
  const mail = agent.clientFor("entra", { scope: "Mail.Read", message: "Read your newest mail to answer your question." });
  const most = Math.min(Number(input["most"] ?? 5), 20);
  const paths: Record<string, string> = {
    newest_mail: `graph/v1.0/me/messages?$top=${most}&$select=subject,bodyPreview`,
    events: "graph/v1.0/me/events",
  };
  const path = paths[name];
  if (path === undefined) return { error: `there is no tool ${name}` };
  try {
    return (await mail.json<{ value: unknown }>(path)).value;
  } catch (error) {
    if (error instanceof Denied) return { error: error.code, description: error.description };
    throw error;
  }
}

/** Asks the model, makes the calls that it wants, and returns its last words. */
export async function run(
  chat: (messages: readonly Message[], tools: typeof TOOLS) => Promise<Message>,
  agent: Valetkey,
  question: string,
): Promise<string> {
  const messages: Message[] = [{ role: "user", content: question }];
  for (let turn = 0; turn < MOST_TURNS; turn++) {
    const said = await chat(messages, TOOLS);
    messages.push(said);
    if (!said.tool_calls?.length) return said.content ?? "";
    for (const wanted of said.tool_calls) {
      const input = JSON.parse(wanted.function.arguments || "{}") as Record<string, unknown>;
      const found = await callTool(agent, wanted.function.name, input);
      messages.push({ role: "tool", tool_call_id: wanted.id, content: JSON.stringify(found) });
    }
  }
  throw new Error("the model went on and on");
}
