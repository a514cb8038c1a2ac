"""AWS: the role's keys, and a signed call of STS (Signature Version 4). Only what one call needs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import httpx

from ._flow import Flow, request
from .errors import CredentialsNotFound

Fetch = Callable[[str, str, dict[str, str]], Flow[httpx.Response]]

_CONTAINERS = "http://169.254.170.2"
_MACHINE = "http://169.254.169.254"
_LIFE_S = 300


@dataclass(frozen=True)
class Keys:
    """Temporary keys of a role."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)


def keys(environ: Mapping[str, str], fetch: Fetch) -> Flow[Keys]:
    """From the environment (Lambda), the container agent (ECS, EKS Pod Identity) or the machine (IMDSv2)."""
    access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        return Keys(access, secret, environ.get("AWS_SESSION_TOKEN"))
    headers: dict[str, str] = {}
    if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        url = _CONTAINERS + relative
    elif full := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        url = _local(full)
        headers = _container_token(environ)
    else:
        aged = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = yield from fetch("PUT", f"{_MACHINE}/latest/api/token", aged)
        headers = {"X-aws-ec2-metadata-token": token.text}
        base = f"{_MACHINE}/latest/meta-data/iam/security-credentials/"
        role = yield from fetch("GET", base, headers)
        url = base + role.text.split("\n")[0].strip()
    answer = yield from fetch("GET", url, headers)
    try:
        found = answer.json()
        return Keys(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    except (ValueError, KeyError, TypeError):
        raise CredentialsNotFound("this role has no usable AWS keys") from None


def _local(url: str) -> str:
    """Keys come over plain HTTP from this machine only; anything else could be an attacker's."""
    parts = urlsplit(url)
    allowed = ("127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")
    if parts.scheme != "https" and parts.hostname not in allowed:
        raise CredentialsNotFound("AWS_CONTAINER_CREDENTIALS_FULL_URI names another machine over plain HTTP")
    return url


def _container_token(environ: Mapping[str, str]) -> dict[str, str]:
    if path := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        with open(path, encoding="utf-8") as file:
            return {"Authorization": file.read().strip()}
    token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    return {"Authorization": token} if token else {}


def web_identity_call(keys: Keys, region: str, audience: str, algorithm: str, now: float) -> httpx.Request:
    """The signed request for a token; regional endpoints only issue them."""
    host = f"sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    body = urlencode(
        {
            "Action": "GetWebIdentityToken",
            "Version": "2011-06-15",
            "Audience.member.1": audience,
            "DurationSeconds": str(_LIFE_S),
            "SigningAlgorithm": algorithm,
        }
    ).encode()
    headers = sign(keys, region, "sts", host, body, now)
    call = request("POST", f"https://{host}/", headers=headers, timeout=10)
    return httpx.Request("POST", call.url, headers=headers, content=body, extensions=call.extensions)


def sign(keys: Keys, region: str, service: str, host: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a POST to `/` with that form."""
    moment = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": host,
        "x-amz-date": moment,
    }
    if keys.session_token:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + keys.secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys.access_key}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def web_identity_token(answer: httpx.Response) -> str:
    """The token in the answer's XML, whatever its namespace."""
    if answer.status_code == 200 and len(answer.content) < 65536 and b"<!" not in answer.content:
        try:
            for element in ElementTree.fromstring(answer.content).iter():
                if element.tag.split("}")[-1] == "WebIdentityToken" and element.text:
                    return element.text.strip()
        except ElementTree.ParseError:
            pass
    raise CredentialsNotFound(f"AWS STS gave no token (status {answer.status_code}): is outbound federation enabled?")
