"""The official Lark SDK at open.feishu.cn, through the proxy and CA that the environment names."""

import base64
import hashlib
import secrets
from urllib.parse import urlencode

import lark_oapi as lark
import requests
from lark_oapi.api.auth.v3 import InternalTenantAccessTokenRequest, InternalTenantAccessTokenRequestBody
from lark_oapi.api.authen.v1 import GetUserInfoRequest
from lark_oapi.api.docs.v1 import GetContentRequest
from lark_oapi.api.docx.v1 import RawContentDocumentRequest
from lark_oapi.api.drive.v1 import ListFileRequest
from lark_oapi.api.im.v1 import (
    CreateMessageRequest,
    CreateMessageRequestBody,
    GetMessageRequest,
    ListChatRequest,
    ListMessageRequest,
)

from browser import Person
from checks import CALL_S, equal, main, password_of, sandbox_state, test

AUTHORIZE = "https://accounts.feishu.cn/open-apis/authen/v1/authorize"
TOKEN = "https://open.feishu.cn/open-apis/authen/v2/oauth/token"
REDIRECT = "http://localhost:8400/authorised"
SCOPES = [
    "offline_access",
    "docx:document:readonly",
    "docs:document.content:read",
    "space:document:retrieve",
    "im:chat:read",
    "im:message",
    "im:message.send_as_user",
    "im:message.group_msg:get_as_user",
    "im:message.p2p_msg:get_as_user",
    "contact:user.email:readonly",
]


def good(response):
    """The data of a successful answer."""
    if not response.success():
        raise AssertionError(f"{response.code} {response.msg}")
    return response.data


def as_user(shared):
    return lark.RequestOption.builder().user_access_token(shared.user_token).build()


def client(shared, enable_set_token: bool) -> lark.Client:
    """A client whose calls carry the user's token, or one that fetches a tenant token by itself."""
    builder = lark.Client.builder().app_id(shared.info["client_id"]).app_secret(shared.info["client_secret"])
    return builder.timeout(CALL_S).enable_set_token(enable_set_token).build()


def token_call(shared, **fields) -> dict:
    fields |= {"client_id": shared.info["client_id"], "client_secret": shared.info["client_secret"]}
    return requests.post(TOKEN, json=fields, timeout=CALL_S).json()


@test
def tenant_token(shared):
    """tenant token of an internal app"""
    info = shared.info
    shared.app = client(shared, enable_set_token=True)
    body = InternalTenantAccessTokenRequestBody.builder().app_id(info["client_id"]).app_secret(info["client_secret"])
    request = InternalTenantAccessTokenRequest.builder().request_body(body.build()).build()
    response = shared.app.auth.v3.tenant_access_token.internal(request)
    good(response)
    token = lark.JSON.unmarshal(response.raw.content.decode(), dict)["tenant_access_token"]
    equal(token.startswith("t-"), True, "a tenant token")


@test
def wrong_secret(shared):
    """a wrong app secret is refused"""
    body = InternalTenantAccessTokenRequestBody.builder().app_id(shared.info["client_id"]).app_secret("wrong")
    request = InternalTenantAccessTokenRequest.builder().request_body(body.build()).build()
    equal(shared.app.auth.v3.tenant_access_token.internal(request).success(), False, "success")


@test
def fetched_by_itself(shared):
    """a client without a token fetches a tenant token by itself, which opens no user's chats"""
    managing = client(shared, enable_set_token=False)
    response = managing.im.v1.chat.list(ListChatRequest.builder().build())
    equal(response.code, 99991663, f"code ({response.msg})")
    last = sandbox_state(shared.info, "lark")["api_calls"][-1]
    equal((last["path"], last["status"]), ("/open-apis/im/v1/chats", 400), "the call that arrived")


@test
def user_token(shared):
    """a user token over v2 with PKCE"""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(16)
    query = {
        "client_id": shared.info["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": " ".join(SCOPES),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    alice = Person("alice@example.com", password_of(shared.info, "alice@example.com"))
    answer = alice.visit(f"{AUTHORIZE}?{urlencode(query)}", until=REDIRECT)
    equal(answer.get("state"), state, "state")
    tokens = token_call(
        shared, grant_type="authorization_code", code=answer["code"], redirect_uri=REDIRECT, code_verifier=verifier
    )
    equal(tokens.get("code"), 0, f"code in {tokens.get('error_description')}")
    equal(set(tokens["scope"].split()), set(SCOPES), "scopes")
    shared.user_token, shared.refresh_token = tokens["access_token"], tokens["refresh_token"]


@test
def user_info(shared):
    """user info with the user token"""
    data = good(shared.app.authen.v1.user_info.get(GetUserInfoRequest.builder().build(), as_user(shared)))
    equal(data.email, "alice@example.com", "email")
    equal(data.tenant_key, "2ed263bf32cf1651", "tenant_key")
    shared.open_id = data.open_id


@test
def document(shared):
    """a document is found and read, as text and as Markdown"""
    waiting, found = [""], None
    while waiting and found is None:
        request = ListFileRequest.builder().folder_token(waiting.pop()).build()
        for file in good(shared.app.drive.v1.file.list(request, as_user(shared))).files:
            if file.type == "folder":
                waiting.append(file.token)
            elif file.type == "docx":
                found = file
    request = RawContentDocumentRequest.builder().document_id(found.token).build()
    text = good(shared.app.docx.v1.document.raw_content(request, as_user(shared))).content
    equal(bool(text.strip()), True, "a text")
    request = GetContentRequest.builder().doc_token(found.token).doc_type("docx").content_type("markdown").build()
    markdown = good(shared.app.docs.v1.content.get(request, as_user(shared))).content
    equal(bool(markdown.strip()), True, "a Markdown text")


@test
def message(shared):
    """a message is sent as the user, and read back alone and in its chat"""
    chats = good(shared.app.im.v1.chat.list(ListChatRequest.builder().page_size(20).build(), as_user(shared))).items
    chat = chats[0].chat_id
    body = CreateMessageRequestBody.builder().receive_id(chat).msg_type("text")
    body = body.content(lark.JSON.marshal({"text": "sent by the official SDK"})).build()
    request = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body).build()
    sent = good(shared.app.im.v1.message.create(request, as_user(shared)))
    request = GetMessageRequest.builder().message_id(sent.message_id).build()
    alone = good(shared.app.im.v1.message.get(request, as_user(shared))).items[0]
    equal(lark.JSON.unmarshal(alone.body.content, dict), {"text": "sent by the official SDK"}, "content")
    request = ListMessageRequest.builder().container_id_type("chat").container_id(chat)
    request = request.sort_type("ByCreateTimeDesc").page_size(20).build()
    listed = good(shared.app.im.v1.message.list(request, as_user(shared))).items
    equal(sent.message_id in [item.message_id for item in listed], True, "listed")


@test
def narrowed(shared):
    """a refresh narrows the token, the old refresh token is spent, and the SDK reports the missing scope"""
    old = shared.refresh_token
    asked = "docx:document:readonly offline_access"
    tokens = token_call(shared, grant_type="refresh_token", refresh_token=old, scope=asked)
    equal(set(tokens.get("scope", "").split()), set(asked.split()), "scopes")
    equal(token_call(shared, grant_type="refresh_token", refresh_token=old).get("code"), 20073, "code")
    shared.user_token = tokens["access_token"]
    response = shared.app.im.v1.chat.list(ListChatRequest.builder().build(), as_user(shared))
    equal(response.code, 99991679, "code")


main("Lark SDK")
