"""How an agent says who it is: by a secret, by a key of its own, or by what the platform that it runs on says of it."""

from __future__ import annotations

import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx

from . import _aws
from ._flow import METADATA_TIMEOUT_S, Flow, Send, request
from ._keys import SigningKey
from .errors import CredentialsNotFound

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KUBERNETES_TOKEN = "var/run/secrets/valetkey/token"
"""Where a Kubernetes projected token with the broker's issuer as its audience is looked for, below `/`."""


class Credentials(ABC):
    """Proves who the agent is, anew for every request."""

    @abstractmethod
    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        """The form parameters of client authentication."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class ClientSecret(Credentials):
    """The simple way: a secret that was shown once when the agent was registered."""

    def __init__(self, secret: str | Callable[[], str]) -> None:
        self._secret = secret

    @classmethod
    def file(cls, path: str | os.PathLike[str]) -> ClientSecret:
        """A file that holds the secret; read for every request, so that it can be rotated."""
        return cls(lambda: _text(Path(path)))

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        secret = self._secret() if callable(self._secret) else self._secret
        return {"client_id": client_id, "client_secret": secret}
        yield  # a flow without steps


class Assertion(Credentials):
    """A JWT from somewhere else; asked for anew for every request."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    @classmethod
    def file(cls, path: str | os.PathLike[str]) -> Assertion:
        """A file that the platform renews, such as a Kubernetes projected service account token."""
        return cls(lambda: _text(Path(path)))

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        return _assertion(client_id, self._token())
        yield  # a flow without steps


class PrivateKeyJwt(Credentials):
    """`private_key_jwt` (RFC 7523) with a key that never leaves the agent. Needs `valetkey[jwt]`."""

    LIFE_S = 60

    def __init__(
        self,
        pem: str | bytes,
        *,
        key_id: str | None = None,
        algorithm: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = SigningKey.load(pem, algorithm)
        self._key_id = key_id
        self._now = now

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        now = int(self._now())
        claims = {
            "iss": client_id,
            "sub": client_id,
            # Our issuer only: an assertion made out to an endpoint could be replayed by whoever runs another one.
            "aud": issuer,
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + self.LIFE_S,
        }
        headers = {"kid": self._key_id} if self._key_id else None
        return _assertion(client_id, self._key.sign(claims, headers))
        yield  # a flow without steps


class CertificateOnly(Credentials):
    """Nothing but the client certificate of the connection (RFC 8705): the client's `certificate`."""

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        return {"client_id": client_id}
        yield  # a flow without steps


class GcpIdentity(Credentials):
    """The identity token of the service account that Google Cloud runs this under."""

    def __init__(self, audience: str | None = None, *, host: str = "metadata.google.internal") -> None:
        self._audience = audience
        self._host = host

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        path = "/computeMetadata/v1/instance/service-accounts/default/identity"
        audience = quote(self._audience or issuer, safe="")
        answer = yield from _metadata(
            "GET", f"http://{self._host}{path}?audience={audience}&format=full", {"Metadata-Flavor": "Google"}
        )
        if answer.headers.get("metadata-flavor") != "Google":
            raise CredentialsNotFound("what answered is not Google Cloud's metadata server")
        return _assertion(client_id, answer.text.strip())


class AzureManagedIdentity(Credentials):
    """A token of the managed identity that Azure runs this under, for the app registration that stands for the broker."""

    def __init__(
        self,
        resource: str,
        *,
        identity: str | None = None,
        environ: Mapping[str, str] = os.environ,
        host: str = "169.254.169.254",
    ) -> None:
        self._resource = resource
        self._identity = identity
        self._environ = environ
        self._host = host

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        endpoint, key = self._environ.get("IDENTITY_ENDPOINT"), self._environ.get("IDENTITY_HEADER")
        query = f"resource={quote(self._resource, safe='')}"
        if self._identity:
            query += f"&client_id={quote(self._identity, safe='')}"
        if endpoint and key:
            # App Service, Functions, Container Apps.
            url, headers = f"{endpoint}?api-version=2019-08-01&{query}", {"X-IDENTITY-HEADER": key}
        else:
            url = f"http://{self._host}/metadata/identity/oauth2/token?api-version=2018-02-01&{query}"
            headers = {"Metadata": "true"}
        answer = yield from _metadata("GET", url, headers)
        return _assertion(client_id, _member(answer, "access_token"))


class AwsWebIdentity(Credentials):
    """A token of AWS STS (`GetWebIdentityToken`) for the role that AWS runs this under."""

    def __init__(
        self,
        audience: str | None = None,
        *,
        region: str | None = None,
        algorithm: str = "ES384",
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._audience = audience
        self._region = region
        self._algorithm = algorithm
        self._environ = environ
        self._now = now

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        region = self._region or self._environ.get("AWS_REGION") or self._environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise CredentialsNotFound("name the AWS region: AWS_REGION, or AwsWebIdentity(region=…)")
        keys = yield from _aws.keys(self._environ, _metadata)
        call = _aws.web_identity_call(keys, region, self._audience or issuer, self._algorithm, self._now())
        answer = yield Send(call)
        return _assertion(client_id, _aws.web_identity_token(answer))


class GitHubActions(Credentials):
    """The token of a GitHub Actions job with `permissions: id-token: write`."""

    def __init__(self, audience: str | None = None, *, environ: Mapping[str, str] = os.environ) -> None:
        self._audience = audience
        self._environ = environ

    def proof(self, issuer: str, client_id: str) -> Flow[dict[str, str]]:
        url = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
        key = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if not url or not key:
            raise CredentialsNotFound("this job has no `permissions: id-token: write`")
        url += f"&audience={quote(self._audience or issuer, safe='')}"
        answer = yield Send(request("GET", url, headers={"Authorization": f"Bearer {key}"}, timeout=10))
        return _assertion(client_id, _member(answer, "value"))


def discover(environ: Mapping[str, str] = os.environ, root: str | os.PathLike[str] = "/") -> Credentials:
    """Finds the agent's credentials: the environment, then a Kubernetes projected token, then the cloud's metadata.

    Nothing is sent anywhere to find out. Tokens that the platform has made for somebody else, such as the default
    service account token of Kubernetes, are never used.
    """
    base = Path(root)
    if secret := environ.get("VALETKEY_CLIENT_SECRET"):
        return ClientSecret(secret)
    if path := environ.get("VALETKEY_CLIENT_SECRET_FILE"):
        return ClientSecret.file(path)
    if path := environ.get("VALETKEY_CLIENT_ASSERTION_FILE"):
        return Assertion.file(path)
    if path := environ.get("VALETKEY_PRIVATE_KEY_FILE"):
        return PrivateKeyJwt(_text(Path(path)), key_id=environ.get("VALETKEY_KEY_ID"))
    if environ.get("VALETKEY_CLIENT_CERTIFICATE_FILE"):
        return CertificateOnly()
    if (base / KUBERNETES_TOKEN).is_file():
        return Assertion.file(base / KUBERNETES_TOKEN)
    if environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        return GitHubActions(environ=environ)
    found = _cloud(environ, base)
    if found is None:
        raise CredentialsNotFound(
            "nothing says who this agent is: set VALETKEY_CLIENT_SECRET, VALETKEY_CLIENT_SECRET_FILE, "
            "VALETKEY_CLIENT_ASSERTION_FILE, VALETKEY_PRIVATE_KEY_FILE or VALETKEY_CLIENT_CERTIFICATE_FILE, mount a projected token at "
            f"/{KUBERNETES_TOKEN}, or pass credentials="
        )
    return found


def _cloud(environ: Mapping[str, str], base: Path) -> Credentials | None:
    def firmware(name: str) -> str:
        try:
            return (base / "sys/class/dmi/id" / name).read_text().strip()
        except OSError:
            return ""

    if (
        environ.get("K_SERVICE")
        or environ.get("GCE_METADATA_HOST")
        or firmware("product_name") == "Google Compute Engine"
    ):
        return GcpIdentity(host=environ.get("GCE_METADATA_HOST") or "metadata.google.internal")
    # The tag that Microsoft gives to every virtual machine of Azure.
    is_azure = firmware("chassis_asset_tag") == "7783-7084-3265-9085-8269-3286-77"
    if is_azure or environ.get("IDENTITY_ENDPOINT"):
        resource = environ.get("VALETKEY_AZURE_RESOURCE")
        if not resource:
            raise CredentialsNotFound("set VALETKEY_AZURE_RESOURCE to the App ID URI that stands for the broker")
        return AzureManagedIdentity(resource, environ=environ)
    in_aws = ("AWS_EXECUTION_ENV", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if any(environ.get(name) for name in in_aws) or firmware("sys_vendor") == "Amazon EC2":
        return AwsWebIdentity(environ=environ)
    return None


def _metadata(method: str, url: str, headers: dict[str, str]) -> Flow[httpx.Response]:
    try:
        answer: httpx.Response = yield Send(
            request(method, url, headers=headers, timeout=METADATA_TIMEOUT_S), direct=True
        )
    except httpx.HTTPError as error:
        raise CredentialsNotFound(f"the metadata server does not answer ({type(error).__name__})") from None
    if answer.status_code != 200:
        raise CredentialsNotFound(f"the metadata server answered {answer.status_code}")
    return answer


def _assertion(client_id: str, token: str) -> dict[str, str]:
    return {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}


def _member(answer: httpx.Response, name: str) -> str:
    try:
        value = answer.json()[name]
    except (ValueError, KeyError, TypeError):
        value = None
    if answer.status_code != 200 or not isinstance(value, str):
        # The body may hold a token: it is not part of the words.
        raise CredentialsNotFound(f"no token came from the platform (status {answer.status_code})")
    return value


def _text(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise CredentialsNotFound(f"{path}: {error.strerror}") from None
    if not text:
        raise CredentialsNotFound(f"{path}: it is empty")
    return text

