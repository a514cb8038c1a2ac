"""Asking for tokens: what is sent, what is kept, who is waited for."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

import valetkey
from conftest import ALICE, ISSUER, QUESTION, Agent, Broker, refusal, token
from valetkey import errors


def test_an_exchange_names_the_user_and_what_is_asked(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    limit = {"kind": "calls", "most": 10, "per": "hour"}
    found = agent.token("entra", scope="Mail.Read User.Read", limits=[limit], message="plan", task="t1")
    assert found.access_token == "vkg_one"
    assert (found.scope, found.grant_id, found.event) == (frozenset({"Mail.Read"}), "gnt_1", "evt_1")
    form = broker.forms()[0]
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": ALICE,
        "subject_token_type": "urn:valetkey:token-type:user",
        "audience": "provider:entra",
        "scope": "Mail.Read User.Read",
        "authorization_details": '[{"kind": "calls", "most": 10, "per": "hour", "type": "valetkey_limit"}]',
        "binding_message": "plan",
        "task": "t1",
        "client_id": "agt_1",
        "client_secret": "vks_secret",
    }


def test_a_token_is_kept_for_the_same_question_until_shortly_before_its_end(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_one"), token("vkg_two"), token("vkg_three"))
    assert agent.token("entra", scope=["a", "b"]).access_token == "vkg_one"
    agent.now += 269
    assert agent.token("entra", scope="b a").access_token == "vkg_one", "the order makes no difference"
    assert agent.token("entra", scope="a").access_token == "vkg_two", "another question"
    agent.now += 2
    assert agent.token("entra", scope="a b").access_token == "vkg_three", "renewed before its end"


def test_tokens_of_two_people_are_never_mixed_up(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_alice"), token("vkg_bob"))
    alice, bob = valetkey.id_token("token-of-alice"), valetkey.id_token("token-of-bob")
    with agent.client.acting_for(alice):
        assert agent.token("entra").access_token == "vkg_alice"
        with agent.client.acting_for(bob):
            assert agent.token("entra").access_token == "vkg_bob"
        assert agent.token("entra").access_token == "vkg_alice"
    assert agent.token("entra", subject=bob).access_token == "vkg_bob"
    assert [form["subject_token"] for form in broker.forms()] == ["token-of-alice", "token-of-bob"]


def test_a_fresh_id_token_is_fetched_for_each_renewal(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_one"), token("vkg_two"))
    fresh = iter(["first", "second"])
    subject = valetkey.id_token(lambda: next(fresh))
    agent.token("entra", subject=subject)
    agent.now += 300
    agent.token("entra", subject=subject)
    assert [form["subject_token"] for form in broker.forms()] == ["first", "second"]


def test_a_person_is_an_error_with_a_page_where_nobody_listens(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", refusal("interaction_required", **QUESTION))
    with pytest.raises(errors.InteractionRequired) as raised:
        agent.token("entra")
    asked = raised.value.interaction
    assert (asked.uri, asked.kind, asked.interval) == (f"{ISSUER}/i/int_1", "consent", 5)
    assert asked.uri in str(raised.value)
    assert "vkr_handle" not in repr(asked) + str(raised.value)


def test_a_person_is_waited_for_where_somebody_tells_them(agent: Agent, broker: Broker) -> None:
    broker.answers(
        "/oauth2/token",
        refusal("interaction_required", **QUESTION),
        refusal("authorization_pending"),
        refusal("slow_down"),
        httpx.ConnectError("the broker is being updated"),
        refusal("temporarily_unavailable", 503, {"Retry-After": "2"}),
        token("vkg_agreed"),
    )
    told: list[str | None] = []
    found = agent.token("entra", on_interaction=lambda asked: told.append(asked.uri))
    assert (found.access_token, told) == ("vkg_agreed", [f"{ISSUER}/i/int_1"])
    assert agent.pauses == [5, 5, 10, 0.5, 2], "slower after slow_down, and as the broker says"
    assert agent.token("entra").access_token == "vkg_agreed", "it is kept"
    assert broker.forms()[1]["auth_req_id"] == "vkr_handle"


def test_waiting_ends_when_time_is_up_or_the_person_refuses(agent: Agent, broker: Broker) -> None:
    broker.answers(
        "/oauth2/token", refusal("interaction_required", **QUESTION), *[refusal("authorization_pending")] * 3
    )
    agent.connect(wait_for=17, on_interaction=lambda asked: None)
    with pytest.raises(errors.InteractionRequired):
        agent.token("entra")
    assert agent.pauses == [5, 5, 5]
    broker.answers("/oauth2/token", refusal("interaction_required", **QUESTION), refusal("access_denied"))
    with pytest.raises(errors.AccessDenied):
        agent.token("entra")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_request", errors.InvalidRequest),
        ("invalid_scope", errors.InvalidScope),
        ("invalid_target", errors.InvalidTarget),
        ("unauthorized_client", errors.UnauthorizedClient),
        ("invalid_authorization_details", errors.InvalidAuthorizationDetails),
        ("access_denied", errors.AccessDenied),
        ("something_new", errors.OAuthError),
    ],
)
def test_each_refusal_has_its_type(agent: Agent, broker: Broker, code: str, kind: type[errors.OAuthError]) -> None:
    broker.answers("/oauth2/token", refusal(code, headers={"X-Valetkey-Event": "evt_7"}))
    with pytest.raises(errors.OAuthError) as raised:
        agent.token("entra")
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.event) == (code, "evt_7")
    assert agent.pauses == []


def test_a_busy_broker_is_asked_again_when_it_says_so(agent: Agent, broker: Broker) -> None:
    broker.answers(
        "/oauth2/token",
        refusal("temporarily_unavailable", 503, {"Retry-After": "7"}),
        refusal("slow_down", 429, {"Retry-After": "3"}),
        token(),
    )
    agent.token("entra")
    assert agent.pauses == [7, 3]
    broker.answers("/oauth2/token", refusal("temporarily_unavailable", 503, {"Retry-After": "61"}))
    with pytest.raises(errors.TemporarilyUnavailable) as raised:
        agent.token("lark")
    assert (raised.value.retry_after, agent.pauses) == (61, [7, 3]), "longer than the patience"


def test_a_broker_that_never_answers_is_given_up(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", *[httpx.ConnectError("no")] * 10)
    with pytest.raises(errors.Unreachable):
        agent.token("entra")
    assert agent.pauses == [0.5, 1, 2, 4, 8, 16]
    broker.ready.clear()
    broker.answers("/oauth2/token", httpx.Response(200, text="<html>a proxy's page</html>"))
    with pytest.raises(errors.Unreachable):
        agent.token("entra")


def test_an_internal_back_end_is_asked_for_by_its_name(agent: Agent, broker: Broker) -> None:
    agent.connect(subject=None)
    broker.answers("/oauth2/token", token("a.b.c"), token("d.e.f"))
    agent.token(audience="https://people.example.com")
    agent.token(audience="https://people.example.com", subject=valetkey.sent_by("parent.token"))
    itself, for_user = broker.forms()
    assert (itself["grant_type"], itself["audience"]) == ("client_credentials", "https://people.example.com")
    assert for_user["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
    with pytest.raises(errors.ValetkeyError, match="name the user"):
        agent.token("entra")
    with pytest.raises(ValueError, match="provider or an audience"):
        agent.token("entra", audience="both")


def test_an_agent_sends_another_one_for_its_user(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("one.b.c"), token("two.b.c"))
    asked = {"scope": "leave.read salary.read", "task": "t1"}
    sent = [agent.does("token_for_agent", "agt_2", **asked) for _ in range(2)]
    assert [each.access_token for each in sent] == ["one.b.c", "two.b.c"], "each has its whole life before it"
    form = broker.forms()[0]
    assert (form["audience"], form["may_act"], form["subject_token"]) == (ISSUER, "agt_2", ALICE)
    assert (form["scope"], form["task"]) == ("leave.read salary.read", "t1")
    agent.connect(subject=None)
    with pytest.raises(errors.ValetkeyError, match="name the user"):
        agent.does("token_for_agent", "agt_2", scope="leave.read")


def test_asking_ahead_and_collecting_later(agent: Agent, broker: Broker) -> None:
    broker.answers(
        "/oauth2/bc-authorize",
        httpx.Response(200, json=QUESTION),
        httpx.Response(200, json={"auth_req_id": "vkr_standing", "expires_in": 600, "interval": 5}),
    )
    asked = agent.does("ask", "entra", scope="Mail.Read")
    assert asked.uri == f"{ISSUER}/i/int_1"
    assert "grant_type" not in broker.forms("/oauth2/bc-authorize")[0]
    standing = agent.does("ask", "entra", scope="Mail.Read")
    broker.answers("/oauth2/token", token("vkg_now"))
    assert agent.does("wait", standing).access_token == "vkg_now"
    assert agent.pauses == [], "nobody has to be waited for"


def test_a_token_is_given_back(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    broker.answers("/oauth2/revoke", httpx.Response(200))
    agent.does("revoke", agent.token("entra"))
    assert broker.forms("/oauth2/revoke")[0]["token"] == "vkg_one"


def test_nothing_that_can_be_printed_holds_a_secret(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token("vkg_secret"))
    found = agent.token("entra", subject=valetkey.id_token("eyJ.secret"))
    shown = [
        agent.client,
        agent.client._core.cache,
        agent.client._core.credentials,
        found,
        valetkey.id_token("eyJ.secret"),
    ]
    for value in shown:
        assert "secret" not in repr(value).lower().replace("clientsecret", ""), repr(value)
    broker.answers("/oauth2/token", refusal("invalid_client", 401))
    with pytest.raises(errors.InvalidClient) as raised:
        agent.token("lark")
    assert "vks_secret" not in str(raised.value)


def test_of_those_who_ask_at_the_same_moment_one_asks_the_broker(broker: Broker) -> None:
    agent = Agent(False, broker).connect()
    broker.answers("/oauth2/token", token("vkg_one"))
    start = threading.Barrier(8)
    found: list[str] = []

    def ask() -> None:
        start.wait()
        found.append(agent.client.token("entra").access_token)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["vkg_one"] * 8
    assert len(broker.forms()) == 1


def test_a_person_is_told_once_however_many_wait(broker: Broker) -> None:
    agent = Agent(True, broker).connect()
    told: list[str | None] = []
    agent.client._core.on_interaction = lambda asked: told.append(asked.uri)
    broker.answers("/oauth2/token", refusal("interaction_required", **QUESTION), token("vkg_agreed"))

    async def ask() -> list[str]:
        found = await asyncio.gather(*[agent.client.token("entra") for _ in range(5)])
        return [one.access_token for one in found]

    assert agent.done(ask()) == ["vkg_agreed"] * 5
    assert told == [f"{ISSUER}/i/int_1"]
    agent.loop.close()


def test_a_token_that_another_process_has_collected_is_asked_for_again(agent: Agent, broker: Broker) -> None:
    question = refusal("interaction_required", **QUESTION)
    broker.answers("/oauth2/token", question, refusal("invalid_grant"), token("vkg_again"))
    assert agent.token("entra", on_interaction=lambda asked: None).access_token == "vkg_again"


def test_the_cache_forgets_the_oldest_first() -> None:
    from valetkey.token import MOST_KEPT, Token, TokenCache

    cache = TokenCache(lambda: 0.0)
    made = Token("t", 300.0, 300.0, frozenset(), "x")
    for number in range(MOST_KEPT + 1):
        cache.put(number, made)
        cache.get(0)
    assert cache.get(0) is made
    assert cache.get(1) is None
    cache.drop(0, Token("other", 300.0, 300.0, frozenset(), "x"))
    assert cache.get(0) is made, "another token is not dropped"
