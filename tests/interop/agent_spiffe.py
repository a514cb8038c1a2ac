"""py-spiffe, the SPIFFE library for Python, as a workload: its Workload API client fetches bundles and JWT-SVIDs.

What SPIRE would serve is served here over the same protocol: two trust domains, each with a key of its own.
"""

import json
import tempfile
import time
from concurrent import futures
from pathlib import Path

import grpc
import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from spiffe import JwtBundle, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient
from spiffe._proto import workload_pb2, workload_pb2_grpc

from checks import CALL_S, equal, main, test

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PEOPLE = "https://people.example.com"
OURS, THEIRS = "example.org", "elsewhere.example"
MAIL = SpiffeId(f"spiffe://{OURS}/agents/mail")


class Authority:
    """A trust domain: its signing key, its bundle, and the SVIDs that it issues."""

    def __init__(self, domain: str):
        self.domain = domain
        self.key = ec.generate_private_key(ec.SECP256R1())

    def bundle(self) -> bytes:
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [jwk | {"kid": "authority-1", "use": "jwt-svid"}]}).encode()

    def svid(self, spiffe_id: str, audience: list[str], life: int = 300) -> str:
        claims = {"sub": spiffe_id, "aud": audience, "iat": int(time.time()), "exp": int(time.time()) + life}
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "authority-1"})


class WorkloadApi(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """The part of the Workload API that is about JWTs."""

    def __init__(self, authorities: list[Authority]):
        self.authorities = {authority.domain: authority for authority in authorities}

    def FetchJWTSVID(self, request, context):
        domain = SpiffeId(request.spiffe_id).trust_domain.name
        token = self.authorities[domain].svid(request.spiffe_id, list(request.audience))
        svid = workload_pb2.JWTSVID(spiffe_id=request.spiffe_id, svid=token)
        return workload_pb2.JWTSVIDResponse(svids=[svid])

    def FetchJWTBundles(self, request, context):
        bundles = {f"spiffe://{name}": one.bundle() for name, one in self.authorities.items()}
        yield workload_pb2.JWTBundlesResponse(bundles=bundles)


def keys_of(bundle: JwtBundle) -> dict:
    """The keys of a bundle as the library has read them."""
    written = jwt.algorithms.ECAlgorithm.to_jwk
    authorities = bundle.jwt_authorities.items()
    return {"keys": [written(key, as_dict=True) | {"kid": kid} for kid, key in authorities]}


def admin(shared, method: str, path: str, body: dict) -> dict:
    answer = requests.request(
        method,
        f"{shared.info['issuer']}/api/v1/{path}",
        json=body,
        headers={"Authorization": f"Bearer {shared.info['admin']['token']}"},
        timeout=CALL_S,
    )
    equal(answer.ok, True, f"{path} ({answer.text[:200]})")
    return answer.json()


def ask(shared, token: str) -> requests.Response:
    """The agent asks for a token of its own, with what its platform says of it."""
    form = {
        "grant_type": "client_credentials",
        "audience": PEOPLE,
        "client_id": shared.info["agents"]["autonomous"]["id"],
        "client_assertion_type": ASSERTION,
        "client_assertion": token,
    }
    return requests.post(f"{shared.info['issuer']}/oauth2/token", data=form, timeout=CALL_S)


def refused(shared, token: str, what: str) -> None:
    answer = ask(shared, token)
    equal((answer.status_code, answer.json().get("error")), (401, "invalid_client"), what)


@test
def bundles(shared):
    """the library's client fetches the bundles of both trust domains; one is registered as a trust source"""
    shared.ours, shared.theirs = Authority(OURS), Authority(THEIRS)
    shared.folder = tempfile.TemporaryDirectory(prefix="valetkey-spiffe-")
    socket = f"unix://{Path(shared.folder.name) / 'workload.sock'}"
    shared.server = grpc.server(futures.ThreadPoolExecutor(2))
    workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(
        WorkloadApi([shared.ours, shared.theirs]), shared.server
    )
    shared.server.add_insecure_port(socket)
    shared.server.start()
    shared.workload = WorkloadApiClient(socket_path=socket, default_timeout=CALL_S)
    found = shared.workload.fetch_jwt_bundles()
    shared.bundle = found.get_bundle_for_trust_domain(TrustDomain(OURS))
    shared.other_bundle = found.get_bundle_for_trust_domain(TrustDomain(THEIRS))
    source = {
        "name": "SPIRE",
        "preset": "spiffe",
        "pins": {"trust_domain": OURS},
        "keys": {"jwks": keys_of(shared.bundle)},
    }
    source = admin(shared, "POST", "trust-sources", source)["id"]
    ways = {"workloads": [{"trust_source": source, "pins": {"spiffe_id": str(MAIL)}}]}
    admin(shared, "PUT", f"agents/{shared.info['agents']['autonomous']['id']}/sign-in", ways)


@test
def accepted(shared):
    """a JWT-SVID that the library has fetched and validated is the agent's proof, again and again"""
    issuer = shared.info["issuer"]
    svid = shared.workload.fetch_jwt_svid({issuer}, subject=MAIL)
    checked = JwtSvid.parse_and_validate(svid.token, shared.bundle, {issuer})
    equal(checked.spiffe_id, MAIL, "SPIFFE ID")
    for _ in range(2):
        answer = ask(shared, svid.token)
        equal(answer.status_code, 200, f"status ({answer.text[:200]})")
        claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        equal(claims["sub"], shared.info["agents"]["autonomous"]["id"], "sub")


@test
def another_domain(shared):
    """a JWT-SVID of another trust domain, sound by its own bundle, is refused"""
    issuer = shared.info["issuer"]
    svid = shared.workload.fetch_jwt_svid({issuer}, subject=SpiffeId(f"spiffe://{THEIRS}/agents/mail"))
    JwtSvid.parse_and_validate(svid.token, shared.other_bundle, {issuer})
    refused(shared, svid.token, "of another trust domain")
    refused(shared, shared.theirs.svid(str(MAIL), [issuer]), "signed by another trust domain's key")


@test
def another_audience(shared):
    """a JWT-SVID for another audience, or for two, is refused"""
    other = "https://other.example.com"
    svid = shared.workload.fetch_jwt_svid({other}, subject=MAIL)
    JwtSvid.parse_and_validate(svid.token, shared.bundle, {other})
    refused(shared, svid.token, "for another audience")
    svid = shared.workload.fetch_jwt_svid({other, shared.info["issuer"]}, subject=MAIL)
    refused(shared, svid.token, "for two audiences: whoever runs the other one could show it here")


@test
def another_workload(shared):
    """another workload of the trust domain is not this agent, and a JWT-SVID ends"""
    issuer = shared.info["issuer"]
    svid = shared.workload.fetch_jwt_svid({issuer}, subject=SpiffeId(f"spiffe://{OURS}/agents/root"))
    JwtSvid.parse_and_validate(svid.token, shared.bundle, {issuer})
    refused(shared, svid.token, "of another workload")
    refused(shared, shared.ours.svid(str(MAIL), [issuer], life=-120), "expired")


main("py-spiffe as a workload")
