"""Calls through the gateway and to internal back ends."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Iterator

import httpx
import pytest

import valetkey
from conftest import ISSUER, QUESTION, Agent, Broker, denial, token
from valetkey import errors

MAIL = "graph/v1.0/me/messages"
AT = f"/gateway/entra/{MAIL}"


def test_calls_carry_the_token_and_answers_pass(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    broker.answers(AT, httpx.Response(200, json={"value": []}), httpx.Response(404, json={"error": "vendor's own"}))
    mail = agent.client.client_for("entra", scope="Mail.Read")
    assert agent.calls(mail, "GET", MAIL, params={"$top": "1"}).json() == {"value": []}
    assert agent.calls(mail, "GET", MAIL).status_code == 404
    assert broker.authorizations(AT) == ["Bearer vkg_one"] * 2
    assert broker.seen[1].url == f"{ISSUER}{AT}?%24top=1"


def test_a_token_that_has_ended_is_renewed_once(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_old"), token("vkg_new"))
    broker.answers(AT, denial("invalid_token", 401), httpx.Response(200))
    mail = agent.client.client_for("entra")
    assert agent.calls(mail, "POST", MAIL, json={"a": 1}).status_code == 200
    assert broker.authorizations(AT) == ["Bearer vkg_old", "Bearer vkg_new"]
    assert broker.bodies[1] == broker.bodies[3] == b'{"a":1}', "the body is sent again"
    broker.answers("/oauth2/token", token("vkg_third"))
    broker.answers(AT, denial("invalid_token", 401), denial("invalid_token", 401))
    with pytest.raises(errors.TokenRejected):
        agent.calls(mail, "GET", MAIL)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("insufficient_scope", 403, errors.InsufficientScope),
        ("route_not_allowed", 403, errors.RouteNotAllowed),
        ("limit_exceeded", 403, errors.LimitExceeded),
        ("interaction_required", 403, errors.RepairNeeded),
        ("invalid_request", 400, errors.AmbiguousCall),
        ("upstream_error", 502, errors.UpstreamFailed),
    ],
)
def test_denials_have_types(agent: Agent, broker: Broker, code: str, status: int, kind: type[errors.Denied]) -> None:
    limit = {"kind": "mail_folders", "allowed": ["inbox"], "asked": "archive"}
    broker.answers("/oauth2/token", token())
    broker.answers(AT, denial(code, status, limit=limit, **QUESTION))
    with pytest.raises(errors.Denied) as raised:
        agent.calls(agent.client.client_for("entra"), "GET", MAIL)
    denied = raised.value
    assert type(denied) is kind
    assert (denied.status, denied.limit, denied.event) == (status, limit, "evt_9")
    assert denied.interaction is not None and denied.interaction.uri == f"{ISSUER}/i/int_1"


def test_the_vendors_own_403_is_no_denial(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    broker.answers(AT, httpx.Response(403, json={"error": "insufficient_scope"}))
    assert agent.calls(agent.client.client_for("entra"), "GET", MAIL).status_code == 403


def test_a_person_who_widens_the_grant_lets_the_call_through(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_narrow"), token("vkg_wide"), token("vkg_fresh"))
    broker.answers(AT, denial("insufficient_scope", **QUESTION), httpx.Response(202), httpx.Response(202))
    told: list[str | None] = []
    mail = agent.client.client_for("entra", on_interaction=lambda asked: told.append(asked.uri))
    assert agent.calls(mail, "POST", MAIL, json={}).status_code == 202
    assert told == [f"{ISSUER}/i/int_1"]
    assert agent.calls(mail, "POST", MAIL, json={}).status_code == 202
    assert broker.authorizations(AT) == ["Bearer vkg_narrow", "Bearer vkg_wide", "Bearer vkg_fresh"]


def test_calls_that_are_denied_together_ask_the_person_once(broker: Broker) -> None:
    agent = Agent(True, broker).connect()
    broker.answers("/oauth2/token", token("vkg_narrow"), token("vkg_wide"))

    def judged(request: httpx.Request) -> httpx.Response:
        is_wide = request.headers["authorization"] == "Bearer vkg_wide"
        return httpx.Response(200) if is_wide else denial("insufficient_scope", **QUESTION)

    broker.answers(AT, *[judged] * 6)
    told: list[str | None] = []

    async def tell(asked: valetkey.Interaction) -> None:
        told.append(asked.uri)
        await asyncio.sleep(0.01)

    mail = agent.client.client_for("entra", on_interaction=tell)

    async def calls() -> list[int]:
        return [answer.status_code for answer in await asyncio.gather(*[mail.get(MAIL) for _ in range(3)])]

    assert agent.done(calls()) == [200] * 3
    assert told == [f"{ISSUER}/i/int_1"]
    assert sorted(broker.authorizations(AT)) == ["Bearer vkg_narrow"] * 3 + ["Bearer vkg_wide"] * 3
    agent.loop.close()


def test_a_full_budget_is_waited_for_within_the_patience(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    broker.answers(
        AT,
        denial("limit_exceeded", 429, {"Retry-After": "10"}),
        httpx.Response(429, headers={"Retry-After": date}),
        httpx.Response(503),
        httpx.Response(200),
    )
    mail = agent.client.client_for("entra")
    assert agent.calls(mail, "GET", MAIL).status_code == 200
    assert agent.pauses[0] == 10
    assert 20 < agent.pauses[1] <= 30
    assert agent.pauses[2] == 4
    broker.answers(AT, denial("limit_exceeded", 429, {"Retry-After": "3600"}))
    with pytest.raises(errors.LimitExceeded) as raised:
        agent.calls(mail, "GET", MAIL)
    assert (raised.value.retry_after, len(agent.pauses)) == (3600, 3)


def test_what_may_have_been_done_is_not_done_twice(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    broker.answers(
        AT,
        httpx.Response(503, headers={"Retry-After": "1"}),
        denial("temporarily_unavailable", 503, {"Retry-After": "1"}),
        httpx.Response(202),
    )
    mail = agent.client.client_for("entra")
    assert agent.calls(mail, "POST", MAIL, json={}).status_code == 503, "the vendor may have sent it"
    assert agent.calls(mail, "POST", MAIL, json={}).status_code == 202, "the gateway has not"
    assert agent.pauses == [1]


def test_a_body_that_can_be_read_once_is_sent_once(broker: Broker) -> None:
    agent = Agent(False, broker).connect()
    broker.answers("/oauth2/token", token())
    broker.answers(AT, denial("invalid_token", 401))

    def chunks() -> Iterator[bytes]:
        yield b"once"

    with pytest.raises(errors.TokenRejected):
        agent.client.client_for("entra").post(MAIL, content=chunks())
    assert len(broker.authorizations(AT)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/gateway/entra/x",
        f"{ISSUER}/gateway/lark/open/x",
        f"{ISSUER}/gateway/entra-evil/x",
        f"{ISSUER}:8443/gateway/entra/x",
        "http://valetkey.example.com/gateway/entra/x",
        f"{ISSUER}/gateway/entra/../../oauth2/token",
    ],
)
def test_the_token_goes_nowhere_else(agent: Agent, broker: Broker, url: str) -> None:
    with pytest.raises(valetkey.WrongAddress):
        agent.calls(agent.client.client_for("entra"), "GET", url)
    assert broker.seen == []


def test_a_streamed_answer_is_not_read_ahead(broker: Broker) -> None:
    agent = Agent(False, broker).connect()
    read: list[int] = []

    class Chunks(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for number in range(3):
                read.append(number)
                yield b"x"

    broker.answers("/oauth2/token", token())
    broker.answers(AT, httpx.Response(200, stream=Chunks()))
    with agent.client.client_for("entra").stream("GET", MAIL) as answer:
        assert read == []
        assert b"".join(answer.iter_bytes()) == b"xxx"


def test_a_back_end_has_its_own_tokens(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("a.b.c"), token("d.e.f"))
    broker.answers("/api/leave", httpx.Response(401), httpx.Response(200))
    people = agent.client.client_for_audience("https://people.example.com", "https://people.example.com/api")
    assert agent.calls(people, "GET", "leave").status_code == 200
    assert broker.authorizations("/api/leave") == ["Bearer a.b.c", "Bearer d.e.f"]
    with pytest.raises(valetkey.WrongAddress):
        agent.calls(people, "GET", "https://people.example.com/other")


def test_a_function_runs_with_the_grant_or_not_at_all(agent: Agent, broker: Broker) -> None:
    ran: list[str] = []
    if agent.is_async:

        @valetkey.requires_grant(agent.client, "entra", scope="Mail.Read")
        async def subjects(mail: httpx.AsyncClient, most: int) -> int:
            ran.append("async")
            return (await mail.get(MAIL, params={"$top": most})).status_code
    else:

        @valetkey.requires_grant(agent.client, "entra", scope="Mail.Read")
        def subjects(mail: httpx.Client, most: int) -> int:
            ran.append("sync")
            return mail.get(MAIL, params={"$top": most}).status_code

    broker.answers("/oauth2/token", httpx.Response(400, json={"error": "interaction_required", **QUESTION}))
    with pytest.raises(errors.InteractionRequired):
        agent.done(subjects(most=3))
    assert ran == []
    broker.answers("/oauth2/token", token())
    broker.answers(AT, httpx.Response(200), httpx.Response(200))
    assert agent.done(subjects(3)) == 200
    assert agent.done(subjects(most=4)) == 200, "the connections stay open for the next call"
    assert len(broker.forms()) == 2 and subjects.__name__ == "subjects"
