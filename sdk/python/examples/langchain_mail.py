"""A LangChain agent that reads its person's mail, through the gateway and with their consent.

    pip install valetkey langchain-core
    export VALETKEY_ISSUER=… VALETKEY_CLIENT_ID=… VALETKEY_CLIENT_SECRET=…

The model never sees a token. Where the person has to agree first they are told, and the tool waits for them; what the
gateway refuses comes back to the model in words, so that it can do something else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import ParamSpec

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from valetkey import Denied, Valetkey

MOST_TURNS = 8
P = ParamSpec("P")


def refusals_as_words(function: Callable[P, str]) -> Callable[P, str]:
    """What the gateway refuses is an answer for the model, not the end of the program."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return function(*args, **kwargs)
        except Denied as denied:
            return f"Refused by the gateway: {denied}"

    return called


def mail_tools(agent: Valetkey) -> Sequence[BaseTool]:
    """Tools for the person that the agent acts for."""
    mail = agent.client_for("entra", scope="Mail.Read", message="Read your newest mail to answer your question.")

    @tool
    @refusals_as_words
    def newest_mail(most: int = 5) -> str:
        """The newest messages of the person's mailbox: subject, sender and preview, as JSON."""
        fields = "subject,from,bodyPreview"
        answer = mail.get("graph/v1.0/me/messages", params={"$top": most, "$select": fields})
        answer.raise_for_status()
        return json.dumps(answer.json()["value"], ensure_ascii=False)

    @tool
    @refusals_as_words
    def calendar_today() -> str:
        """The person's events, as JSON."""
        answer = mail.get("graph/v1.0/me/events")
        answer.raise_for_status()
        return json.dumps(answer.json()["value"], ensure_ascii=False)

    return [newest_mail, calendar_today]


def run(model: BaseChatModel, tools: Sequence[BaseTool], question: str) -> str:
    """Asks the model, makes the calls that it wants, and returns its last words."""
    by_name = {one.name: one for one in tools}
    talking = model.bind_tools(tools)
    messages: list[BaseMessage] = [HumanMessage(question)]
    for _ in range(MOST_TURNS):
        said = talking.invoke(messages)
        assert isinstance(said, AIMessage)
        messages.append(said)
        if not said.tool_calls:
            return str(said.content)
        for wanted in said.tool_calls:
            answer = by_name[wanted["name"]].invoke(wanted["args"])
            messages.append(ToolMessage(str(answer), tool_call_id=wanted["id"] or ""))
    raise RuntimeError("the model went on and on")
