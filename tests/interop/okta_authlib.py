"""Authlib as an OAuth client of the organisation's Okta, through the proxy and CA that the environment names."""

import secrets

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from browser import Person
from checks import CALL_S, equal, main, password_of, test

ISSUER = "https://example.okta.com"
REDIRECT = "http://localhost:8400/authorised"
SCOPES = "openid profile email offline_access okta.users.read.self"


@test
def discovery(shared):
    """the organisation's metadata is discovered"""
    info = shared.info
    shared.session = OAuth2Session(
        info["client_id"],
        info["client_secret"],
        scope=SCOPES,
        redirect_uri=REDIRECT,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
        default_timeout=CALL_S,
    )
    metadata = shared.session.get(f"{ISSUER}/.well-known/openid-configuration", withhold_token=True)
    shared.metadata = metadata.json()
    equal(shared.metadata["issuer"], ISSUER, "issuer")


@test
def code_flow(shared):
    """code flow with PKCE; the ID token's signature, issuer, audience and nonce hold"""
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    url, state = shared.session.create_authorization_url(
        shared.metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
    )
    alice = Person("alice@example.com", password_of(shared.info, "alice@example.com"))
    answer = alice.visit(url, until=REDIRECT)
    equal(answer.get("state"), state, "state")
    endpoint = shared.metadata["token_endpoint"]
    token = shared.session.fetch_token(endpoint, code=answer["code"], code_verifier=verifier)
    keys = KeySet.import_key_set(shared.session.get(shared.metadata["jwks_uri"], withhold_token=True).json())
    claims = jwt.decode(token["id_token"], keys).claims
    found = {name: claims[name] for name in ("iss", "aud", "nonce", "email")}
    expected = {"iss": ISSUER, "aud": shared.info["client_id"], "nonce": nonce, "email": "alice@example.com"}
    equal(found, expected, "claims")


@test
def management(shared):
    """the management API answers to that token"""
    answer = shared.session.get(f"{ISSUER}/api/v1/users/me")
    equal(answer.status_code, 200, "status")
    equal(answer.json()["profile"]["email"], "alice@example.com", "email")


@test
def refresh(shared):
    """a refresh narrows the scopes and rotates the refresh token"""
    before = shared.session.token["refresh_token"]
    token = shared.session.refresh_token(shared.metadata["token_endpoint"], scope="openid offline_access")
    equal(set(token["scope"].split()), {"openid", "offline_access"}, "scopes")
    equal(token["refresh_token"] == before, False, "the same refresh token")


@test
def revoke(shared):
    """a revoked refresh token is invalid_grant"""
    session, token = shared.session, shared.session.token["refresh_token"]
    answer = session.revoke_token(shared.metadata["revocation_endpoint"], token=token, token_type_hint="refresh_token")
    equal(answer.status_code, 200, "status")
    try:
        session.refresh_token(shared.metadata["token_endpoint"], refresh_token=token)
    except OAuthError as error:
        equal(error.error, "invalid_grant", "error")
    else:
        raise AssertionError("the token was renewed")


main("Authlib at Okta")
