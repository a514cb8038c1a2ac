"""The examples, with a scripted model, against the demo; the consent is given in a real browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from conftest import ALICE, Demo

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import langchain_mail
import openai_tools

from valetkey import Interaction


class Scripted(GenericFakeChatModel):
    """A model that says what it was told to say; it keeps what it was shown."""

    shown: list[BaseMessage] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Scripted:
        assert [one.name for one in tools] == ["newest_mail", "calendar_today"]
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.shown[:] = messages
        return super()._generate(messages, *args, **kwargs)


def wants(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


def test_a_langchain_agent_reads_mail_after_a_consent_in_a_real_browser(demo: Demo) -> None:
    pages: list[str] = []

    def in_a_browser(asked: Interaction) -> None:
        assert asked.uri is not None
        # Only the first question is about mail: another one is for a person to think about.
        assert not pages
        with chromium() as browser:
            pages.append(browser.agrees(asked.uri, ALICE, demo.user(ALICE)["password"]))

    script = [wants("newest_mail", most=3), wants("calendar_today"), AIMessage("You have three messages.")]
    model = Scripted(messages=iter(script))
    with demo.client("personal", subject=ALICE, on_interaction=in_a_browser) as agent:
        tools = langchain_mail.mail_tools(agent)
        asking = tools[0].invoke({"most": 1})
        assert json.loads(asking)[0]["subject"]
        agent._core.on_interaction = None
        tools = langchain_mail.mail_tools(agent)
        assert langchain_mail.run(model, tools, "What is new?") == "You have three messages."
    assert len(pages) == 1
    mail, calendar = [message for message in model.shown if isinstance(message, ToolMessage)]
    read = json.loads(str(mail.content))
    assert len(read) == 3 and all(one["subject"] for one in read)
    assert "insufficient_scope" in str(calendar.content), "the model is told what it may not see"
    assert not any("vkg_" in str(message.content) for message in model.shown)


def test_plain_tool_calls_stop_for_the_person_and_go_on(demo: Demo) -> None:
    shown: list[dict[str, Any]] = []

    def scripted(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        shown[:] = messages
        assert tools[0]["function"]["name"] == "list_files"
        if messages[-1]["role"] == "tool":
            names = [one["name"] for one in json.loads(messages[-1]["content"])]
            return {"role": "assistant", "content": f"You have {', '.join(names)}."}
        function = {"name": "list_files", "arguments": "{}"}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        }

    with demo.client("personal", subject=ALICE) as agent:
        with pytest.raises(openai_tools.PersonNeeded) as needed:
            openai_tools.run(scripted, agent, "Which files do I have?")
        demo.person(ALICE).visit(str(needed.value))
        said = openai_tools.run(scripted, agent, "Which files do I have?")
    assert said.startswith("You have ") and len(said) > len("You have .")
    assert openai_tools.call_tool(agent, "delete_everything", {}) == {"error": "there is no tool delete_everything"}
