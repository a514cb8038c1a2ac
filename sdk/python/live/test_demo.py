"""The package against a real broker: `valetkey demo`."""

from __future__ import annotations

import asyncio
import json

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import valetkey
from conftest import ALICE, BOB, Demo
from valetkey import AsyncValetkey, DpopKey, Interaction, Token, credentials, errors

MESSAGES = "graph/v1.0/me/messages"
PEOPLE = "https://people.example.com"


def test_a_personal_agent_asks_its_owner_and_reads_their_mail(demo: Demo) -> None:
    with demo.client("personal", subject=ALICE) as agent:
        with pytest.raises(errors.InteractionRequired) as raised:
            agent.token("entra", scope="Mail.Read", message="Plan the week")
        demo.person(ALICE).visit(raised.value.interaction.uri)
        with agent.client_for("entra", scope="Mail.Read") as mail:
            found = mail.get(MESSAGES, params={"$top": "2"})
            assert found.status_code == 200, found.text
            assert len(found.json()["value"]) == 2
            following = mail.get(found.json()["@odata.nextLink"])
            assert following.status_code == 200, "links to further pages lead to the gateway"
            with pytest.raises(errors.InsufficientScope) as denied:
                mail.get("graph/v1.0/me/events")
        assert denied.value.interaction is not None and denied.value.event
        token = agent.token("entra", scope="Mail.Read")
        assert token.scope == {"Mail.Read"} and token.expires_at
        agent.revoke(token)


def test_an_assistant_waits_for_the_person_that_it_tells(demo: Demo) -> None:
    told: list[Interaction] = []

    def tell(asked: Interaction) -> None:
        told.append(asked)
        demo.person(BOB).visit(asked.uri)

    subject = valetkey.id_token(lambda: demo.user(BOB)["id_token"])
    with demo.client("assistant", on_interaction=tell) as agent, agent.acting_for(subject):

        @valetkey.requires_grant(agent, "okta", scope="okta.users.read.self")
        def name(okta: object) -> str:
            return str(agent.client_for("okta").get("mgmt/api/v1/users/me").json()["profile"]["email"])

        assert name() == BOB
        assert len(told) == 1
        assert name() == BOB and len(told) == 1


def test_the_asynchronous_client_does_the_same(demo: Demo) -> None:
    async def run() -> None:
        async def tell(asked: Interaction) -> None:
            await asyncio.to_thread(demo.person(ALICE).visit, asked.uri)

        environ = demo.agent("personal")
        async with AsyncValetkey(environ=environ, subject=ALICE, on_interaction=tell) as agent:
            async with agent.client_for("lark", scope="space:document:retrieve") as files:
                answers = await asyncio.gather(*[files.get("open/open-apis/drive/v1/files") for _ in range(5)])
            assert [answer.json()["code"] for answer in answers] == [0] * 5

    asyncio.run(run())


def test_asking_ahead_is_answered_at_once_where_everything_is_granted(demo: Demo) -> None:
    with demo.client("personal", subject=ALICE) as agent:
        asked = agent.ask("dingtalk", scope="Calendar.Event.Read", message="for tonight")
        assert asked.uri and "/i/int_" in asked.uri
        demo.person(ALICE).visit(asked.uri)
        again = agent.ask("dingtalk", scope="Calendar.Event.Read")
        assert again.uri is None
        assert agent.wait(again).scope == {"Calendar.Event.Read"}


def test_limits_narrow_a_token_and_say_what_they_allow(demo: Demo) -> None:
    with demo.client("personal", subject=ALICE, patience=0) as agent:
        limits = [{"kind": "calls", "most": 1, "per": "day"}]
        with agent.client_for("entra", scope="Mail.Read", limits=limits) as mail:
            assert mail.get(MESSAGES).status_code == 200
            with pytest.raises(errors.LimitExceeded) as exceeded:
                mail.get(MESSAGES)
        assert exceeded.value.status == 429 and (exceeded.value.retry_after or 0) > 0


def test_a_vendor_that_is_busy_is_asked_again(demo: Demo) -> None:
    demo.sandbox("entra/faults", {"endpoint": "api", "kind": "rate_limit", "value": 1, "count": 1})
    with demo.client("personal", subject=ALICE) as agent, agent.client_for("entra", scope="Mail.Read") as mail:
        assert mail.get(MESSAGES).status_code == 200


def test_an_internal_back_end_filters_by_whom_the_agent_acts_for(demo: Demo) -> None:
    base = demo.info["backend"]
    with demo.client("assistant") as agent:
        bob = valetkey.id_token(demo.user(BOB)["id_token"])
        with agent.client_for_audience(PEOPLE, base, subject=bob, scope="leave.read") as people:
            answer = people.get("leave")
            assert answer.status_code == 200, answer.text
            assert BOB in answer.text and ALICE not in answer.text
            assert people.get("salary").status_code == 403
    with demo.client("autonomous") as agent, agent.client_for_audience(PEOPLE, base) as people:
        assert people.get("headcount").status_code == 200
        with pytest.raises(errors.UnauthorizedClient):
            agent.token("entra", subject=ALICE)


def test_an_agent_sends_another_one_for_its_user(demo: Demo) -> None:
    alice = valetkey.id_token(demo.user(ALICE)["id_token"])
    with demo.client("assistant", subject=alice) as parent, demo.client("personal") as sub_agent:
        sent = parent.token_for_agent(sub_agent._core.client_id, scope="leave.read")
        subject = valetkey.sent_by(sent.access_token)
        with sub_agent.client_for_audience(PEOPLE, demo.info["backend"], subject=subject) as people:
            answer = people.get("leave")
            assert answer.status_code == 200, answer.text
            assert ALICE in answer.text and BOB not in answer.text
            assert people.get("salary").status_code == 403, "no more than it was sent with"


def test_a_key_of_its_own_stands_in_for_a_secret(demo: Demo) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    keys = {"keys": [public | {"kid": "sdk-python", "alg": "EdDSA", "use": "sig"}]}
    demo.admin("PUT", f"agents/{demo.info['agents']['autonomous']['id']}/sign-in", {"keys": {"jwks": keys}})
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own = credentials.PrivateKeyJwt(pem, key_id="sdk-python")
    with demo.client("autonomous", credentials=own) as agent:
        assert agent.token(audience=PEOPLE).access_token.count(".") == 2
    other = credentials.PrivateKeyJwt(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        key_id="sdk-python",
    )
    with demo.client("autonomous", credentials=other) as agent, pytest.raises(errors.InvalidClient):
        agent.token(audience=PEOPLE)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_tokens_that_are_bound_to_a_key_work_with_it_alone(demo: Demo, kind: str) -> None:
    provider, scope, me = "okta", "okta.users.read.self", "mgmt/api/v1/users/me"
    with demo.client("personal", subject=ALICE) as agent:
        asked = agent.ask(provider, scope=scope)
        if asked.uri:
            demo.person(ALICE).visit(asked.uri)
    base = demo.info["backend"]

    def stolen(token: Token) -> int:
        url = f"{demo.info['issuer']}/gateway/{provider}/{me}"
        return httpx.get(url, headers={"Authorization": f"Bearer {token.access_token}"}).status_code

    async def run() -> None:
        async with AsyncValetkey(environ=demo.agent("personal"), subject=ALICE, dpop=True) as agent:
            async with agent.client_for(provider, scope=scope) as okta:
                assert [(await okta.get(me)).status_code for _ in range(3)] == [200] * 3
            assert stolen(await agent.token(provider, scope=scope)) == 401
            async with agent.client_for_audience(PEOPLE, base, scope="leave.read") as people:
                assert ALICE in (await people.get("leave")).text

    if kind == "async":
        return asyncio.run(run())
    with demo.client("personal", subject=ALICE, dpop=True) as agent:
        with agent.client_for(provider, scope=scope) as okta:
            assert [okta.get(me).status_code for _ in range(3)] == [200] * 3
        token = agent.token(provider, scope=scope)
        assert (token.token_type, stolen(token)) == ("DPoP", 401)
        with agent.client_for_audience(PEOPLE, base, scope="leave.read") as people:
            assert ALICE in people.get("leave").text


def test_an_agent_whose_tokens_must_be_bound_gets_none_without_a_key(demo: Demo) -> None:
    path = f"agents/{demo.info['agents']['autonomous']['id']}"
    demo.admin("PATCH", path, {"sender_constrained": True})
    try:
        with demo.client("autonomous") as agent, pytest.raises(errors.InvalidProof):
            agent.token(audience=PEOPLE)
        with demo.client("autonomous", dpop=DpopKey.generate()) as agent:
            assert agent.token(audience=PEOPLE).is_bound_to_key
    finally:
        demo.admin("PATCH", path, {"sender_constrained": False})


def test_refusals_are_typed(demo: Demo) -> None:
    with demo.client("personal") as agent:
        with pytest.raises(errors.InvalidRequest):
            agent.token("entra", subject=BOB)
        with pytest.raises(errors.InvalidScope):
            agent.token("entra", subject=ALICE, scope="No.Such")
        with pytest.raises(errors.InvalidTarget):
            agent.token("nowhere", subject=ALICE)
    wrong = credentials.ClientSecret("vks_wrong")
    with demo.client("personal", credentials=wrong, subject=ALICE) as agent, pytest.raises(errors.InvalidClient):
        agent.token("entra")


def test_a_token_that_ended_at_the_broker_is_renewed(demo: Demo) -> None:
    # Last: it moves the clock of the broker and of the vendors.
    with demo.client("personal", subject=ALICE) as agent, agent.client_for("entra", scope="Mail.Read") as mail:
        assert mail.get(MESSAGES).status_code == 200
        first = agent.token("entra", scope="Mail.Read")
        demo.sandbox("clock", {"advance_s": 400})
        assert mail.get(MESSAGES).status_code == 200
        assert agent.token("entra", scope="Mail.Read").access_token != first.access_token
