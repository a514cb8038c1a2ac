"""MSAL for Python at login.microsoftonline.com and graph.microsoft.com, through the sandbox's proxy and CA."""

import msal
import requests

from browser import Person
from checks import CALL_S, equal, main, password_of, sandbox_post, sandbox_state, test

AUTHORITY = "https://login.microsoftonline.com/11111111-2222-4333-8444-555555555555"
GRAPH = "https://graph.microsoft.com/v1.0"
REDIRECT = "http://localhost:8400/signed-in"
SCOPES = ["User.Read", "Mail.Read"]


def application(info: dict, secret: str) -> msal.ConfidentialClientApplication:
    return msal.ConfidentialClientApplication(
        info["client_id"],
        client_credential=secret,
        authority=AUTHORITY,
        proxies={"https": info["proxy"]},
        verify=info["ca_file"],
        timeout=CALL_S,
    )


def graph(shared, path: str, token: str) -> requests.Response:
    session = requests.Session()
    session.proxies = {"https": shared.info["proxy"]}
    session.verify = shared.info["ca_file"]
    return session.get(f"{GRAPH}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=CALL_S)


def silent(shared, **options) -> dict:
    result = shared.app.acquire_token_silent_with_error(SCOPES, account=shared.account, **options)
    if not result or "access_token" not in result:
        raise AssertionError(f"no token: {result}")
    return result


@test
def discovery(shared):
    """an authority is discovered"""
    shared.app = application(shared.info, shared.info["client_secret"])
    equal(shared.app.authority.token_endpoint, f"{AUTHORITY}/oauth2/v2.0/token", "token endpoint")


@test
def code_flow(shared):
    """code flow with PKCE, state and nonce, the answer by form_post"""
    flow = shared.app.initiate_auth_code_flow(SCOPES, redirect_uri=REDIRECT, response_mode="form_post")
    shared.alice = Person("alice@example.com", password_of(shared.info, "alice@example.com"))
    answer = shared.alice.visit(flow["auth_uri"], until=REDIRECT)
    result = shared.app.acquire_token_by_auth_code_flow(flow, answer)
    if "access_token" not in result:
        raise AssertionError(f"no token: {result}")
    equal(result["id_token_claims"]["preferred_username"], "alice@example.com", "preferred_username")
    shared.token = result["access_token"]


@test
def me(shared):
    """Graph /me with that token"""
    answer = graph(shared, "/me", shared.token)
    equal(answer.status_code, 200, "status")
    equal(answer.json()["userPrincipalName"], "alice@example.com", "userPrincipalName")


@test
def cached(shared):
    """acquire_token_silent answers from the cache, by the account"""
    accounts = shared.app.get_accounts()
    equal([account["username"] for account in accounts], ["alice@example.com"], "accounts")
    shared.account = accounts[0]
    equal(silent(shared)["access_token"] == shared.token, True, "the same token")
    equal(sandbox_state(shared.info, "entra")["refreshes"].get("alice@example.com", 0), 0, "refreshes")


@test
def forced(shared):
    """acquire_token_silent refreshes when forced, and the new token works"""
    # The next token is short-lived, so that MSAL will find by itself that it has to refresh again.
    fault = {"endpoint": "refresh", "kind": "expires_in", "value": 60, "count": 1}
    sandbox_post(shared.info, "entra/faults", fault)
    renewed = silent(shared, force_refresh=True)["access_token"]
    if renewed == shared.token:
        raise AssertionError("the same token came again")
    equal(graph(shared, "/me/messages", renewed).status_code, 200, "status")
    equal(sandbox_state(shared.info, "entra")["refreshes"]["alice@example.com"], 1, "refreshes")
    shared.token = renewed


@test
def unforced(shared):
    """acquire_token_silent refreshes by itself when the token is about to end"""
    renewed = silent(shared)["access_token"]
    if renewed == shared.token:
        raise AssertionError("the same token came again")
    equal(graph(shared, "/me", renewed).status_code, 200, "status")
    equal(sandbox_state(shared.info, "entra")["refreshes"]["alice@example.com"], 2, "refreshes")
    shared.token = renewed


@test
def not_consented(shared):
    """a silent request for what was not consented is classified as consent_required"""
    result = shared.app.acquire_token_silent_with_error(["Calendars.Read"], account=shared.account)
    equal((result or {}).get("error"), "invalid_grant", "error")
    equal(result.get("classification"), "consent_required", "classification")


@test
def expired(shared):
    """Graph refuses the token after its time, and a forced refresh helps"""
    sandbox_post(shared.info, "clock", {"advance_s": 3700})
    equal(graph(shared, "/me", shared.token).status_code, 401, "status")
    renewed = silent(shared, force_refresh=True)["access_token"]
    equal(graph(shared, "/me", renewed).status_code, 200, "status")


@test
def wrong_secret(shared):
    """a wrong client secret is invalid_client"""
    app = application(shared.info, "wrong")
    flow = app.initiate_auth_code_flow(SCOPES, redirect_uri=REDIRECT, response_mode="form_post")
    answer = shared.alice.visit(flow["auth_uri"], until=REDIRECT)
    equal(app.acquire_token_by_auth_code_flow(flow, answer).get("error"), "invalid_client", "error")


main("MSAL")
