"""Plain tool calling in OpenAI's form, with whatever client speaks to the model.

`chat` takes the messages and the tools and returns the model's message, such as

    lambda messages, tools: client.chat.completions.create(
        model="…", messages=messages, tools=tools
    ).choices[0].message.model_dump()

Here nobody waits for the person: where they have to agree first, the program ends with the page to open, and goes on
from there when it is run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from valetkey import Denied, InteractionRequired, Valetkey

Message = dict[str, Any]
MOST_TURNS = 8

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "list_files",
            "description": "The files in a folder of the person's drive.",
            "parameters": {
                "type": "object",
                "properties": {"folder": {"type": "string", "description": "A folder's id; left out = the top."}},
            },
        },
    }
]


class PersonNeeded(Exception):
    """The person has to open a page first."""


def call_tool(agent: Valetkey, name: str, arguments: dict[str, Any]) -> Any:
    """What a tool finds. The gateway decides what it may see."""
    if name != "list_files":
        return {"error": f"there is no tool {name}"}
    folder = arguments.get("folder")
    where = f"graph/v1.0/me/drive/items/{folder}/children" if folder else "graph/v1.0/me/drive/root/children"
    with agent.client_for("entra", scope="Files.Read", message="Find the file that you asked for.") as drive:
        try:
            answer = drive.get(where)
        except InteractionRequired as needed:
            raise PersonNeeded(needed.interaction.uri) from None
        except Denied as denied:
            return {"error": denied.code, "description": denied.description}
    if answer.is_error:
        return {"error": f"the provider answered {answer.status_code}"}
    return [{"name": item["name"], "id": item["id"]} for item in answer.json()["value"]]


def run(chat: Callable[[list[Message], list[dict[str, Any]]], Message], agent: Valetkey, question: str) -> str:
    """Asks the model, makes the calls that it wants, and returns its last words."""
    messages: list[Message] = [{"role": "user", "content": question}]
    for _ in range(MOST_TURNS):
        said = chat(messages, TOOLS)
        messages.append(said)
        wanted = said.get("tool_calls")
        if not wanted:
            return str(said["content"])
        for one in wanted:
            function = one["function"]
            found = call_tool(agent, function["name"], json.loads(function["arguments"] or "{}"))
            messages.append({"role": "tool", "tool_call_id": one["id"], "content": json.dumps(found)})
    raise RuntimeError("the model went on and on")
