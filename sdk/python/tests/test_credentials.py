"""Who the agent is: what is found, in which order, and what is sent."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import jwt
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoKeys
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from conftest import ISSUER, Agent, Broker, token
from valetkey import Valetkey, _aws, credentials, errors

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def sent(agent: Agent, broker: Broker, given: credentials.Credentials) -> dict[str, str]:
    broker.answers("/oauth2/token", token())
    agent.connect(credentials=given)
    agent.token("entra")
    return broker.forms()[-1]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
    ],
)
def test_a_key_signs_a_short_assertion_for_the_issuer(
    agent: Agent, broker: Broker, key: ed25519.Ed25519PrivateKey, algorithm: str
) -> None:
    given = credentials.PrivateKeyJwt(pem(key), key_id="key-1")
    forms = [sent(agent, broker, given), sent(agent, broker, given)]
    form = forms[0]
    assert (form["client_id"], form["client_assertion_type"]) == ("agt_1", ASSERTION)
    assert "client_secret" not in form
    header = jwt.get_unverified_header(form["client_assertion"])
    assert (header["alg"], header["kid"]) == (algorithm, "key-1")
    claims = [
        jwt.decode(form["client_assertion"], key.public_key(), algorithms=[algorithm], audience=ISSUER)
        for form in forms
    ]
    assert (claims[0]["iss"], claims[0]["sub"]) == ("agt_1", "agt_1")
    assert claims[0]["exp"] - claims[0]["iat"] <= 60
    assert claims[0]["jti"] != claims[1]["jti"], "each can be used once"


def test_files_are_read_anew_for_every_request(agent: Agent, broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first.projected.token\n")
    given = credentials.Assertion.file(file)
    assert sent(agent, broker, given)["client_assertion"] == "first.projected.token"
    file.write_text("second.projected.token")
    assert sent(agent, broker, given)["client_assertion"] == "second.projected.token"
    file.write_text(" ")
    with pytest.raises(errors.CredentialsNotFound, match="empty"):
        agent.token("lark")
    file.unlink()
    with pytest.raises(errors.CredentialsNotFound):
        agent.token("lark")


def test_google_cloud_is_asked_for_a_token_for_the_issuer(agent: Agent, broker: Broker) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/identity"
    broker.answers(path, httpx.Response(200, text="gcp.id.token\n", headers={"Metadata-Flavor": "Google"}))
    assert sent(agent, broker, credentials.GcpIdentity())["client_assertion"] == "gcp.id.token"
    asked = broker.seen[0]
    assert (asked.url.host, asked.headers["metadata-flavor"]) == ("metadata.google.internal", "Google")
    assert dict(asked.url.params) == {"audience": ISSUER, "format": "full"}
    broker.answers(path, httpx.Response(200, text="somebody.elses.token"))
    with pytest.raises(errors.CredentialsNotFound, match="not Google"):
        agent.token("lark")


def test_azure_is_asked_for_the_app_registration(agent: Agent, broker: Broker) -> None:
    broker.answers("/metadata/identity/oauth2/token", httpx.Response(200, json={"access_token": "azure.token"}))
    given = credentials.AzureManagedIdentity("api://valetkey", environ={})
    assert sent(agent, broker, given)["client_assertion"] == "azure.token"
    asked = broker.seen[0]
    assert (asked.url.host, asked.headers["metadata"]) == ("169.254.169.254", "true")
    assert dict(asked.url.params) == {"api-version": "2018-02-01", "resource": "api://valetkey"}
    broker.answers("/msi/token", httpx.Response(200, json={"access_token": "app.service.token"}))
    environ = {"IDENTITY_ENDPOINT": "http://127.0.0.1:41/msi/token", "IDENTITY_HEADER": "header"}
    given = credentials.AzureManagedIdentity("api://valetkey", identity="mi-1", environ=environ)
    assert sent(agent, broker, given)["client_assertion"] == "app.service.token"
    asked = next(request for request in broker.seen if request.url.path == "/msi/token")
    assert (asked.headers["x-identity-header"], asked.url.params["client_id"]) == ("header", "mi-1")


XML = """<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>
<WebIdentityToken>aws.web.identity</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"""


def test_aws_signs_the_call_as_its_own_library_does(agent: Agent, broker: Broker) -> None:
    broker.answers("/latest/api/token", httpx.Response(200, text="imds-session"))
    base = "/latest/meta-data/iam/security-credentials/"
    broker.answers(base, httpx.Response(200, text="Worker"))
    role = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG", "Token": "session"}
    broker.answers(base + "Worker", httpx.Response(200, json=role))
    broker.answers("/", httpx.Response(200, text=XML))
    moment = 1_790_000_000.0
    given = credentials.AwsWebIdentity(region="eu-central-1", environ={}, now=lambda: moment)
    assert sent(agent, broker, given)["client_assertion"] == "aws.web.identity"
    first, second, _, call = broker.seen[:4]
    assert (first.method, second.headers["x-aws-ec2-metadata-token"]) == ("PUT", "imds-session")
    assert call.url == "https://sts.eu-central-1.amazonaws.com/"

    theirs = AWSRequest(
        "POST",
        str(call.url),
        data=call.content,
        headers={"Content-Type": call.headers["content-type"], "Host": call.headers["host"]},
    )
    boto = SigV4Auth(BotoKeys(role["AccessKeyId"], role["SecretAccessKey"], role["Token"]), "sts", "eu-central-1")
    theirs.context["timestamp"] = call.headers["x-amz-date"]
    theirs.headers["X-Amz-Date"] = call.headers["x-amz-date"]
    theirs.headers["X-Amz-Security-Token"] = "session"
    signature = boto.signature(boto.string_to_sign(theirs, boto.canonical_request(theirs)), theirs)
    assert call.headers["authorization"].endswith(f"Signature={signature}")


def test_aws_keys_come_from_the_environment_or_a_local_agent_only() -> None:
    def keys(environ: dict[str, str]) -> object:
        flow = _aws.keys(environ, credentials._metadata)
        try:
            return next(flow)
        except StopIteration as end:
            return end.value

    found = keys({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "hidden"})
    assert "hidden" not in repr(found)
    local = keys({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"})
    assert local.request.url.host == "169.254.170.23"  # type: ignore[attr-defined]
    with pytest.raises(errors.CredentialsNotFound, match="another machine"):
        keys({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://attacker.example/keys"})


@pytest.mark.parametrize(
    "text", ["<html/>", "", "<!DOCTYPE x [<!ENTITY a 'b'>]><WebIdentityToken>&a;</WebIdentityToken>"]
)
def test_an_answer_of_sts_without_a_token_is_none(text: str) -> None:
    with pytest.raises(errors.CredentialsNotFound):
        _aws.web_identity_token(httpx.Response(200, text=text))


def test_github_is_asked_for_a_token_for_the_issuer(agent: Agent, broker: Broker) -> None:
    broker.answers("/token", httpx.Response(200, json={"value": "github.job.token"}))
    environ = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example/token?run=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job",
    }
    assert sent(agent, broker, credentials.GitHubActions(environ=environ))["client_assertion"] == "github.job.token"
    assert broker.seen[0].url.params["audience"] == ISSUER


def test_credentials_are_found_in_a_fixed_order_and_never_borrowed(tmp_path: Path) -> None:
    def found(**environ: str) -> str:
        return type(credentials.discover(environ, tmp_path)).__name__

    with pytest.raises(errors.CredentialsNotFound, match="VALETKEY_CLIENT_SECRET"):
        found()
    # Made for the cluster's own server, and for other clouds' token services: not ours to send anywhere.
    default = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount/token"
    default.parent.mkdir(parents=True)
    default.write_text("for.the.cluster")
    others = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(default), "AZURE_FEDERATED_TOKEN_FILE": str(default)}
    with pytest.raises(errors.CredentialsNotFound):
        found(**others)

    firmware = tmp_path / "sys/class/dmi/id"
    firmware.mkdir(parents=True)
    (firmware / "product_name").write_text("Google Compute Engine\n")
    assert found() == "GcpIdentity"
    (firmware / "product_name").write_text("Virtual Machine\n")
    (firmware / "chassis_asset_tag").write_text("7783-7084-3265-9085-8269-3286-77\n")
    assert found(VALETKEY_AZURE_RESOURCE="api://valetkey") == "AzureManagedIdentity"
    with pytest.raises(errors.CredentialsNotFound, match="VALETKEY_AZURE_RESOURCE"):
        found()
    (firmware / "chassis_asset_tag").unlink()
    (firmware / "sys_vendor").write_text("Amazon EC2\n")
    assert found() == "AwsWebIdentity"
    assert found(ACTIONS_ID_TOKEN_REQUEST_URL="https://x") == "GitHubActions"
    ours = tmp_path / "var/run/secrets/valetkey/token"
    ours.parent.mkdir(parents=True)
    ours.write_text("a.b.c")
    assert found() == "Assertion"
    key = tmp_path / "key.pem"
    key.write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    assert found(VALETKEY_PRIVATE_KEY_FILE=str(key)) == "PrivateKeyJwt"
    assert found(VALETKEY_PRIVATE_KEY_FILE=str(key), VALETKEY_CLIENT_ASSERTION_FILE="x") == "Assertion"
    assert found(VALETKEY_CLIENT_SECRET_FILE="x", VALETKEY_CLIENT_ASSERTION_FILE="x") == "ClientSecret"


def test_the_environment_makes_a_client() -> None:
    environ = {"VALETKEY_ISSUER": ISSUER + "/", "VALETKEY_CLIENT_ID": "agt_1", "VALETKEY_CLIENT_SECRET": "hidden"}
    client = Valetkey(environ=environ)
    assert repr(client) == f"Valetkey('{ISSUER}', 'agt_1')"
    assert "hidden" not in json.dumps(repr(vars(client._core)))
    with pytest.raises(errors.CredentialsNotFound, match="VALETKEY_ISSUER"):
        Valetkey(environ={})
    with pytest.raises(errors.CredentialsNotFound, match="not both"):
        Valetkey(client_secret="x", credentials=credentials.ClientSecret("y"), environ=environ)
