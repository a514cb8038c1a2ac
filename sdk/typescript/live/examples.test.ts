/** The example, with a scripted model, against the demo. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Valetkey } from "valetkey";

import { TOOLS, callTool, run, type Message } from "../examples/tools.js";
import { agrees } from "./person.js";

const info = JSON.parse(readFileSync(process.env["VALETKEY_DEMO_INFO"] ?? "", "utf8"));

test("a model's tool calls read mail after the person's consent", async () => {
  const alice = info.users.find((user: { email: string }) => user.email === "alice@example.com");
  const { id, secret } = info.agents.personal;
  let told = 0;
  const agent = new Valetkey({
    issuer: info.issuer,
    clientId: id,
    clientSecret: secret,
    subject: alice.email,
    onInteraction: async (asked) => {
      told += 1;
      // Only the first question is about mail: another one is for a person to think about.
      if (told === 1) await agrees(asked, alice);
    },
    waitFor: 20,
  });
  const wants = (name: string, input: unknown): Message => ({
    role: "assistant",
    content: null,
    tool_calls: [{ id: name, function: { name, arguments: JSON.stringify(input) } }],
  });
  const script = [wants("newest_mail", { most: 2 }), { role: "assistant", content: "Two messages." } as const];
  let shown: readonly Message[] = [];
  const said = await run(
    async (messages, tools) => {
      assert.equal(tools, TOOLS);
      shown = messages;
      return script.shift() ?? assert.fail("asked too often");
    },
    agent,
    "What is new?",
  );
  assert.deepEqual([said, told], ["Two messages.", 1]);
  const read = JSON.parse(shown.find((message) => message.role === "tool")?.content ?? "[]");
  assert.equal(read.length, 2);
  assert.ok(read[0].subject);
  assert.deepEqual(await callTool(agent, "delete_everything", {}), { error: "there is no tool delete_everything" });
});

test("what the gateway refuses is told to the model", async () => {
  const alice = info.users.find((user: { email: string }) => user.email === "alice@example.com");
  const { id, secret } = info.agents.personal;
  const quiet = new Valetkey({ issuer: info.issuer, clientId: id, clientSecret: secret, subject: alice.email });
  const refused = (await callTool(quiet, "events", {})) as { error: string };
  assert.equal(refused.error, "insufficient_scope");
});
