"""Tokens that are bound to a key of the agent (DPoP), and client certificates."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from conftest import ISSUER, QUESTION, Agent, Broker, denial, refusal, token
from valetkey import AsyncValetkey, DpopKey, Valetkey, errors

MAIL = "graph/v1.0/me/messages"
AT = f"/gateway/entra/{MAIL}"


def bound(text: str = "vkg_one", nonce: str | None = None) -> httpx.Response:
    made = token(text, token_type="DPoP")
    if nonce:
        made.headers["DPoP-Nonce"] = nonce
    return made


def wants_nonce(nonce: str) -> httpx.Response:
    return refusal("use_dpop_nonce", headers={"DPoP-Nonce": nonce})


def challenge(nonce: str) -> httpx.Response:
    words = 'DPoP realm="valetkey", error="use_dpop_nonce", algs="ES256"'
    return denial("use_dpop_nonce", 401, {"WWW-Authenticate": words, "DPoP-Nonce": nonce})


class Shown:
    """The proofs that were shown, each read with the key that it brings along."""

    def __init__(self, broker: Broker) -> None:
        self.all: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        answer = broker.__class__.__call__

        def noting(request: httpx.Request) -> httpx.Response:
            if text := request.headers.get("dpop"):
                header = jwt.get_unverified_header(text)
                key = jwt.PyJWK(header["jwk"], algorithm=header["alg"])
                self.all.append((request.url.path, header, jwt.decode(text, key, algorithms=[header["alg"]])))
            return answer(broker, request)

        self.broker = noting

    def at(self, path: str) -> list[dict[str, Any]]:
        return [claims for seen, _, claims in self.all if seen == path]


@pytest.fixture
def shown(broker: Broker) -> Shown:
    return Shown(broker)


def connected(agent: Agent, shown: Shown, **given: Any) -> Agent:
    agent.broker = shown.broker  # type: ignore[assignment]
    return agent.connect(**{"dpop": True, **given})


def sha256(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def test_a_token_is_asked_for_with_a_proof_and_the_nonce_that_the_broker_wants(
    agent: Agent, broker: Broker, shown: Shown
) -> None:
    connected(agent, shown)
    broker.answers("/oauth2/token", wants_nonce("one"), bound(nonce="two"))
    assert agent.token("entra").is_bound_to_key
    (path, header, first), (_, _, second) = shown.all
    assert (path, header["typ"], header["alg"]) == ("/oauth2/token", "dpop+jwt", "ES256")
    assert set(header["jwk"]) == {"kty", "crv", "x", "y"}, "nothing of the private key"
    assert (first["htm"], first["htu"]) == ("POST", f"{ISSUER}/oauth2/token")
    assert ("nonce" not in first, second["nonce"]) == (True, "one")
    assert first["jti"] != second["jti"] and "ath" not in first
    assert agent.pauses == []


def test_every_call_has_a_proof_of_its_own_for_this_token(agent: Agent, broker: Broker, shown: Shown) -> None:
    connected(agent, shown)
    broker.answers("/oauth2/token", bound(nonce="one"))
    broker.answers(AT, httpx.Response(200, headers={"DPoP-Nonce": "two"}), httpx.Response(200))
    mail = agent.client.client_for("entra")
    agent.calls(mail, "GET", MAIL, params={"$top": "1"})
    agent.calls(mail, "POST", MAIL, json={})
    assert broker.authorizations(AT) == ["DPoP vkg_one"] * 2
    first, second = shown.at(AT)
    assert (first["htm"], first["htu"]) == ("GET", f"{ISSUER}{AT}"), "the query does not count"
    assert (first["ath"], first["nonce"]) == (sha256("vkg_one"), "one")
    assert (second["htm"], second["nonce"]) == ("POST", "two")
    assert first["jti"] != second["jti"]


def test_a_nonce_that_has_lapsed_costs_one_more_call_and_no_token(agent: Agent, broker: Broker, shown: Shown) -> None:
    connected(agent, shown)
    broker.answers("/oauth2/token", bound(nonce="old"))
    broker.answers(AT, challenge("new"), httpx.Response(201))
    assert agent.calls(agent.client.client_for("entra"), "POST", MAIL, json={"a": 1}).status_code == 201
    assert [claims["nonce"] for claims in shown.at(AT)] == ["old", "new"]
    assert broker.bodies[1] == broker.bodies[2] == b'{"a":1}'
    assert len(broker.forms()) == 1


def test_a_server_that_wants_nonces_for_ever_is_an_error(agent: Agent, broker: Broker, shown: Shown) -> None:
    connected(agent, shown)
    broker.answers("/oauth2/token", wants_nonce("one"), wants_nonce("two"))
    with pytest.raises(errors.NonceNeeded):
        agent.token("entra")
    broker.answers("/oauth2/token", bound("vkg_one"), bound("vkg_two"))
    broker.answers(AT, challenge("one"), challenge("two"), challenge("three"))
    with pytest.raises(errors.ProofRejected):
        agent.calls(agent.client.client_for("entra"), "GET", MAIL)


def test_polling_has_a_proof_as_well(agent: Agent, broker: Broker, shown: Shown) -> None:
    connected(agent, shown, on_interaction=lambda asked: None)
    broker.answers("/oauth2/token", refusal("interaction_required", **QUESTION), refusal("authorization_pending"))
    broker.answers("/oauth2/token", bound())
    assert agent.token("entra").is_bound_to_key
    assert len(shown.at("/oauth2/token")) == 3


def test_a_token_that_anybody_could_use_is_not_used(agent: Agent, broker: Broker, shown: Shown) -> None:
    connected(agent, shown)
    broker.answers("/oauth2/token", token(), token())
    for _ in range(2):
        with pytest.raises(errors.NotBound):
            agent.calls(agent.client.client_for("entra"), "GET", MAIL)
    assert not shown.at(AT)


def test_without_a_key_there_are_no_proofs(agent: Agent, broker: Broker) -> None:
    broker.answers("/oauth2/token", token())
    agent.token("entra")
    assert "dpop" not in broker.seen[0].headers


def test_a_key_can_be_kept_in_a_file_and_is_shown_nowhere(agent: Agent, tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    kept, again = DpopKey.file(tmp_path / "key.pem"), DpopKey(pem)
    assert kept.thumbprint == again.thumbprint != DpopKey.generate().thumbprint
    agent.connect(dpop=kept)
    assert repr(kept) == "DpopKey(EdDSA, …)"
    with pytest.raises(errors.CredentialsNotFound):
        DpopKey.file(tmp_path / "none.pem")
    with pytest.raises(errors.CredentialsNotFound):
        DpopKey("no key")


# Client certificates: a real server that asks for one.


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, in files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


class TlsBroker:
    """Answers every request with a token, and keeps the certificate and the form of the request."""

    def __init__(self, folder: Path, clients: Path) -> None:
        self.seen: list[tuple[bytes | None, bytes]] = []
        certificate_file, key_file = certificate(folder, "broker")
        kept = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept.append((self.connection.getpeercert(binary_form=True), body))  # type: ignore[attr-defined]
                answer = token().read()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file)
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self.server.server_port}"
        self.trusting = ssl.create_default_context(cafile=str(certificate_file))
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsBroker]:
    certificate(tmp_path, "agent")
    made = TlsBroker(tmp_path, tmp_path / "agent.pem")
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.mark.parametrize("kind", [Valetkey, AsyncValetkey])
def test_a_client_certificate_is_shown_and_is_enough(agent: Agent, tls: TlsBroker, tmp_path: Path, kind: Any) -> None:
    files = (str(tmp_path / "agent.pem"), str(tmp_path / "agent.key"))
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "agent.pem").read_text())
    given = {"issuer": tls.issuer, "client_id": "agt_1", "subject": "alice@example.com", "verify": tls.trusting}
    client = kind(certificate=files, environ={}, **given)
    agent.done(client.token("entra"))
    shown, form = tls.seen[0]
    assert shown == der
    assert b"client_id=agt_1" in form and b"secret" not in form and b"assertion" not in form
    agent.done(client.aclose() if kind is AsyncValetkey else client.close())


def test_the_environment_names_a_certificate(agent: Agent, tls: TlsBroker, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "agent.pem").read_bytes() + (tmp_path / "agent.key").read_bytes())
    environ = {"VALETKEY_ISSUER": tls.issuer, "VALETKEY_CLIENT_ID": "agt_1"}
    with Valetkey(
        environ=environ | {"VALETKEY_CLIENT_CERTIFICATE_FILE": str(both)}, subject="alice@example.com", verify=tls.trusting
    ) as client:
        client.token("entra")
    assert tls.seen[0][0] is not None
    with pytest.raises(errors.CredentialsNotFound):
        Valetkey(environ=environ | {"VALETKEY_CLIENT_CERTIFICATE_FILE": str(tmp_path / "none.pem")})
