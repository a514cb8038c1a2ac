"""Client certificates (RFC 8705) against a real broker that serves TLS: `tests/interop/secured.py`.

`VALETKEY_SECURED_INFO` names the file that it has written; `scripts/sdk` starts it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from conftest import Person
from valetkey import AsyncValetkey, Valetkey, errors

ME = "mgmt/api/v1/users/me"


class Secured:
    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self.owner = info["owner"]["email"]
        self.trusting = ssl.create_default_context(cafile=info["ca_file"])

    def certificate(self, name: str) -> tuple[str, str]:
        held = self.info["certificates"][name]
        return held["certificate"], held["key"]

    def thumbprint(self, name: str) -> str:
        """As tokens say it (RFC 8705, section 3.1)."""
        raw = bytes.fromhex(self.info["certificates"][name]["sha256"].replace(":", ""))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def given(self, kind: str, certificate: str | None) -> dict[str, Any]:
        """The agent, its certificate, and a context of its own: loading a certificate changes that."""
        given = {"issuer": self.info["issuer"], "client_id": self.info["agents"][kind], "environ": {}}
        given["verify"] = ssl.create_default_context(cafile=self.info["ca_file"])
        return given | ({"certificate": self.certificate(certificate)} if certificate else {})

    def client(self, kind: str, certificate: str | None, **more: Any) -> Valetkey:
        return Valetkey(**self.given(kind, certificate), **more)

    def person(self) -> Person:
        person = Person(self.owner, self.info["owner"]["password"])
        # Whatever authorities the machine's settings name.
        person.session.trust_env, person.session.verify = False, self.info["ca_file"]
        return person


@pytest.fixture(scope="session")
def secured() -> Secured:
    return Secured(json.loads(Path(os.environ["VALETKEY_SECURED_INFO"]).read_text()))


def test_a_certificate_signs_in_and_its_tokens_work_over_its_connections_only(secured: Secured) -> None:
    with secured.client("personal", "own", subject=secured.owner) as agent:
        with pytest.raises(errors.InteractionRequired) as raised:
            agent.token("okta", scope="okta.users.read.self")
        secured.person().visit(raised.value.interaction.uri)
        with agent.client_for("okta", scope="okta.users.read.self") as okta:
            assert okta.get(ME).json()["profile"]["email"] == secured.owner
        token = agent.token("okta", scope="okta.users.read.self")

    # Whoever has seen the token has nothing: neither without a certificate nor with the agent's own next one.
    address = f"{secured.info['issuer']}/gateway/okta/{ME}"
    shown = {"Authorization": f"Bearer {token.access_token}"}
    for name, status in ((None, 401), ("stranger", 401), ("successor", 401), ("own", 200)):
        context = ssl.create_default_context(cafile=secured.info["ca_file"])
        if name:
            context.load_cert_chain(*secured.certificate(name))
        with httpx.Client(verify=context, trust_env=False) as client:
            assert client.get(address, headers=shown).status_code == status, name


def test_a_renewed_certificate_goes_on_where_the_former_one_was(secured: Secured) -> None:
    async def run() -> None:
        given = secured.given("personal", "successor")
        agent = AsyncValetkey(**given, subject=secured.owner)
        async with agent, agent.client_for("okta", scope="okta.users.read.self") as okta:
            answers = await asyncio.gather(*[okta.get(ME) for _ in range(5)])
        assert [answer.status_code for answer in answers] == [200] * 5

    asyncio.run(run())


def test_a_name_of_a_private_authority_signs_in_and_binds_a_back_ends_token(secured: Secured) -> None:
    with secured.client("autonomous", "issued") as agent:
        token = agent.token(audience=secured.info["audience"])
    with httpx.Client(verify=secured.trusting, trust_env=False) as client:
        keys = client.get(f"{secured.info['issuer']}/.well-known/jwks.json").json()
    key = next(key for key in jwt.PyJWKSet.from_dict(keys).keys if key.algorithm_name == "EdDSA")
    claims = jwt.decode(token.access_token, key, algorithms=["EdDSA"], audience=secured.info["audience"])
    assert claims["sub"] == secured.info["agents"]["autonomous"]
    assert claims["cnf"] == {"x5t#S256": secured.thumbprint("issued")}


@pytest.mark.parametrize(
    ("kind", "certificate"),
    [("personal", "stranger"), ("personal", "issued"), ("autonomous", "namesake"), ("autonomous", "own")],
)
def test_a_certificate_of_somebody_else_signs_nobody_in(secured: Secured, kind: str, certificate: str) -> None:
    with secured.client(kind, certificate, subject=secured.owner) as agent, pytest.raises(errors.InvalidClient):
        agent.token(audience=secured.info["audience"])


def test_the_environment_is_enough(secured: Secured) -> None:
    certificate, key = secured.certificate("issued")
    environ = {
        "VALETKEY_ISSUER": secured.info["issuer"],
        "VALETKEY_CLIENT_ID": secured.info["agents"]["autonomous"],
        "VALETKEY_CLIENT_CERTIFICATE_FILE": certificate,
        "VALETKEY_CLIENT_CERTIFICATE_KEY_FILE": key,
    }
    trusting = ssl.create_default_context(cafile=secured.info["ca_file"])
    with Valetkey(environ=environ, verify=trusting) as agent:
        assert agent.token(audience=secured.info["audience"]).scope == {"invoice.read"}


def test_a_server_that_nobody_vouches_for_gets_no_word(secured: Secured) -> None:
    given = secured.given("autonomous", "issued") | {"verify": ssl.create_default_context()}
    with Valetkey(**given) as agent, pytest.raises(errors.Unreachable):
        agent.token(audience=secured.info["audience"])
