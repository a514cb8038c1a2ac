"""Authlib as an agent of the broker: token exchange, polling, gateway calls, introspection, revocation."""

import time

import jwt
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from joserfc.jwk import OKPKey

from browser import Person
from checks import CALL_S, equal, main, password_of, test

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
CIBA = "urn:openid:params:grant-type:ciba"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
USER = "urn:valetkey:token-type:user"
GATEWAY = "urn:valetkey:token-type:gateway"
PEOPLE = "https://people.example.com"
ALICE, BOB = "alice@example.com", "bob@example.com"


class Agent:
    """An agent that is nothing but an Authlib session."""

    def __init__(self, info: dict, kind: str, method: str):
        who = info["agents"][kind]
        self.session = OAuth2Session(
            who["id"], who["secret"], token_endpoint_auth_method=method, default_timeout=CALL_S
        )
        self.endpoint = f"{info['issuer']}/oauth2/token"
        self.last: dict = {}
        # An OAuthError keeps `error` and `error_description` only; the hook sees the whole answer.
        self.session.register_compliance_hook("access_token_response", self.keep)

    def keep(self, response):
        self.last = response.json()
        return response

    def exchange(self, subject: str, subject_type: str, provider: str, **more) -> dict:
        return self.session.fetch_token(
            self.endpoint,
            grant_type=EXCHANGE,
            subject_token=subject,
            subject_token_type=subject_type,
            audience=f"provider:{provider}",
            **more,
        )

    def refused(self, call, error: str) -> dict:
        """The whole answer to a call that has to be refused with that error."""
        try:
            token = call()
        except OAuthError as refusal:
            equal(refusal.error, error, f"error ({refusal.description})")
            return self.last
        raise AssertionError(f"was not refused: {sorted(token)}")

    def poll(self, asked: dict) -> dict:
        """Polls as CIBA wants it: waits the interval, longer after `slow_down`."""
        wait = asked["interval"]
        deadline = time.monotonic() + 60
        while True:
            time.sleep(wait)
            try:
                return self.session.fetch_token(self.endpoint, grant_type=CIBA, auth_req_id=asked["auth_req_id"])
            except OAuthError as answer:
                if answer.error not in ("authorization_pending", "slow_down") or time.monotonic() > deadline:
                    raise
                wait += 5 if answer.error == "slow_down" else 0


def user(info: dict, email: str) -> dict:
    return next(user for user in info["users"] if user["email"] == email)


@test
def metadata(shared):
    """the metadata names what is used here"""
    issuer = shared.info["issuer"]
    answer = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=CALL_S)
    shared.metadata = AuthorizationServerMetadata(answer.json())
    equal(shared.metadata["issuer"], issuer, "issuer")
    equal({EXCHANGE, CIBA} <= set(shared.metadata["grant_types_supported"]), True, "grant types")
    shared.metadata.validate_grant_types_supported()
    shared.metadata.validate_token_endpoint_auth_methods_supported()


@test
def assistant_asks(shared):
    """the assistant's exchange with an ID token is interaction_required, the same while it is open"""
    shared.assistant = agent = Agent(shared.info, "assistant", "client_secret_basic")
    id_token = user(shared.info, BOB)["id_token"]

    def ask():
        return agent.exchange(id_token, ID_TOKEN, "entra", binding_message="Plan the week", task="interop-1")

    shared.asked = asked = agent.refused(ask, "interaction_required")
    equal(asked["interaction"], "consent", "interaction")
    equal(asked["interaction_uri"].startswith(f"{shared.info['issuer']}/i/int_"), True, "interaction_uri")
    equal(agent.refused(ask, "interaction_required")["auth_req_id"], asked["auth_req_id"], "auth_req_id")


@test
def pending(shared):
    """polling before the employee has agreed is authorization_pending"""
    agent, asked = shared.assistant, shared.asked

    def poll():
        return agent.session.fetch_token(agent.endpoint, grant_type=CIBA, auth_req_id=asked["auth_req_id"])

    agent.refused(poll, "authorization_pending")


@test
def consent(shared):
    """the employee agrees to less than was asked"""
    person = Person(BOB, password_of(shared.info, BOB), refuses=frozenset({"Mail.Send", "Calendars.Read"}))
    page = person.visit(shared.asked["interaction_uri"])
    equal(page.status_code, 200, "status of the last page")


@test
def collected(shared):
    """polling then gives a gateway token, narrowed to what was agreed, once"""
    agent = shared.assistant
    token = agent.poll(shared.asked)
    equal(set(token["scope"].split()), {"User.Read", "Mail.Read", "Files.Read"}, "scopes")
    equal(token["issued_token_type"], GATEWAY, "issued_token_type")
    equal(token["gateway"], f"{shared.info['issuer']}/gateway/entra", "gateway")

    def poll():
        return agent.session.fetch_token(agent.endpoint, grant_type=CIBA, auth_req_id=shared.asked["auth_req_id"])

    agent.refused(poll, "invalid_grant")


@test
def called(shared):
    """a gateway call inside the grant works, one outside is insufficient_scope"""
    session = shared.assistant.session
    gateway = session.token["gateway"]
    answer = session.get(f"{gateway}/graph/v1.0/me")
    equal(answer.status_code, 200, "status")
    equal(answer.json()["userPrincipalName"], BOB, "userPrincipalName")
    answer = session.get(f"{gateway}/graph/v1.0/me/events")
    equal((answer.status_code, answer.json()["error"]), (403, "insufficient_scope"), "refusal")


@test
def exchanged(shared):
    """with the grant, an exchange answers at once, and narrower when asked"""
    id_token = user(shared.info, BOB)["id_token"]
    token = shared.assistant.exchange(id_token, ID_TOKEN, "entra", scope="User.Read")
    equal(token["scope"], "User.Read", "scope")
    answer = shared.assistant.session.get(f"{token['gateway']}/graph/v1.0/me/messages")
    equal(answer.status_code, 403, "status")


@test
def introspected_and_revoked(shared):
    """introspection shows the token; after revocation it is inactive and the gateway refuses it"""
    session = shared.assistant.session
    text = session.token["access_token"]
    shown = session.introspect_token(shared.metadata["introspection_endpoint"], token=text).json()
    equal((shown["active"], shown["scope"]), (True, "User.Read"), "introspection")
    answer = session.revoke_token(shared.metadata["revocation_endpoint"], token=text)
    equal(answer.status_code, 200, "status of the revocation")
    shown = session.introspect_token(shared.metadata["introspection_endpoint"], token=text).json()
    equal(shown, {"active": False}, "introspection")
    answer = session.get(f"{session.token['gateway']}/graph/v1.0/me")
    equal((answer.status_code, answer.json()["error"]), (401, "invalid_token"), "the gateway's answer")


@test
def personal(shared):
    """the personal agent gets its owner's consent, and nothing for anybody else"""
    shared.personal = agent = Agent(shared.info, "personal", "client_secret_post")
    agent.refused(lambda: agent.exchange(BOB, USER, "lark"), "invalid_request")
    asked = agent.refused(lambda: agent.exchange(ALICE, USER, "lark"), "interaction_required")
    Person(ALICE, password_of(shared.info, ALICE)).visit(asked["interaction_uri"])
    token = agent.poll(asked)
    answer = agent.session.get(f"{token['gateway']}/open/open-apis/drive/v1/files")
    equal((answer.status_code, answer.json()["code"]), (200, 0), "the gateway's answer")


@test
def provider_token(shared):
    """a provider token that the vendor has narrowed works at the vendor, and only for its scope"""
    agent = shared.personal
    token = agent.exchange(
        ALICE, USER, "lark", scope="space:document:retrieve", requested_token_type=ACCESS_TOKEN
    )
    equal((token["issued_token_type"], token["scope"]), (ACCESS_TOKEN, "space:document:retrieve"), "token")
    # Straight to the vendor's own host, through the proxy that the environment names.
    vendor = "https://open.feishu.cn/open-apis"
    answer = agent.session.get(f"{vendor}/drive/v1/files")
    equal((answer.status_code, answer.json()["code"]), (200, 0), "the vendor's answer")
    equal(agent.session.get(f"{vendor}/im/v1/chats").json()["code"], 99991679, "the vendor's refusal")


def checked(shared, token: str, audience: str) -> dict:
    """As a back end checks a delegation JWT: by the published keys, its own name, and the type."""
    key = jwt.PyJWKClient(shared.metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    equal(jwt.get_unverified_header(token)["typ"], "at+jwt", "typ")
    issuer = shared.metadata["issuer"]
    required = {"require": ["exp", "iat", "jti", "sub", "client_id"]}
    return jwt.decode(token, key, algorithms=["EdDSA", "ES256"], audience=audience, issuer=issuer, options=required)


@test
def delegated(shared):
    """a delegation JWT for a person is verified by PyJWT, for exactly one audience"""
    id_token = user(shared.info, BOB)["id_token"]
    token = shared.assistant.session.fetch_token(
        shared.assistant.endpoint,
        grant_type=EXCHANGE,
        subject_token=id_token,
        subject_token_type=ID_TOKEN,
        audience=PEOPLE,
        scope="leave.read",
    )
    equal((token["issued_token_type"], token["scope"]), (ACCESS_TOKEN, "leave.read"), "token")
    claims = checked(shared, token["access_token"], PEOPLE)
    equal((claims["aud"], claims["email"]), (PEOPLE, BOB), "claims")
    equal(claims["act"], {"sub": shared.info["agents"]["assistant"]["id"]}, "act")
    try:
        checked(shared, token["access_token"], "https://other.example.com")
    except jwt.InvalidAudienceError:
        return
    raise AssertionError("another audience was accepted")


@test
def itself(shared):
    """client credentials give an autonomous agent a JWT of its own, and no provider"""
    agent = Agent(shared.info, "autonomous", "client_secret_basic")
    token = agent.session.fetch_token(agent.endpoint, grant_type="client_credentials", audience=PEOPLE)
    claims = checked(shared, token["access_token"], PEOPLE)
    equal((claims["sub"], claims.get("act")), (shared.info["agents"]["autonomous"]["id"], None), "claims")
    agent.refused(
        lambda: agent.session.fetch_token(
            agent.endpoint, grant_type="client_credentials", audience="provider:entra"
        ),
        "invalid_target",
    )


@test
def private_key(shared):
    """private_key_jwt proves who the agent is; its audience has to be the issuer"""
    who, issuer = shared.info["agents"]["autonomous"]["id"], shared.metadata["issuer"]
    key = OKPKey.generate_key("Ed25519", {"kid": "authlib", "use": "sig", "alg": "EdDSA"})
    answer = requests.put(
        f"{issuer}/api/v1/agents/{who}/sign-in",
        json={"keys": {"jwks": {"keys": [key.as_dict(private=False)]}}},
        headers={"Authorization": f"Bearer {shared.info['admin']['token']}"},
        timeout=CALL_S,
    )
    equal(answer.status_code, 200, f"registration ({answer.text[:200]})")
    agent = Agent(shared.info, "autonomous", "private_key_jwt")
    agent.session.client_secret = key

    def ask(audience: str) -> dict:
        # Authlib's default is the token endpoint; who may only be meant by one server names the issuer.
        agent.session.register_client_auth_method(PrivateKeyJWT(audience, headers={"kid": "authlib"}, alg="EdDSA"))
        return agent.session.fetch_token(agent.endpoint, grant_type="client_credentials", audience=PEOPLE)

    equal(checked(shared, ask(issuer)["access_token"], PEOPLE)["sub"], who, "sub")
    agent.refused(lambda: ask(agent.endpoint), "invalid_client")


@test
def wrong_secret(shared):
    """a wrong secret is invalid_client"""
    agent = Agent(shared.info, "personal", "client_secret_basic")
    agent.session.client_secret = "wrong"
    agent.refused(lambda: agent.exchange(ALICE, USER, "lark"), "invalid_client")


main("Authlib as an agent")
