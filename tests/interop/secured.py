"""A deployment of its own whose broker serves TLS and asks for client certificates, with agents that sign in by one.

    secured.py PATH_TO_VALETKEY FOLDER INFO_FILE

Set up as in real life: init, settings, the set-up link, the REST API, and an employee who has signed in. Writes INFO_FILE
when everything is there, and goes on until its standard input ends. Needs `cryptography` and `requests`.
"""

import contextlib
import datetime
import ipaddress
import json
import re
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urljoin

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import servers
from browser import Person, _Forms
from checks import CALL_S

ADMIN, OWNER = "admin@example.com", "alice@example.com"
LEDGER = "https://ledger.example.com"
COMPANY = {"slug": "okta", "company": {"issuer": "https://example.okta.com"}}
CEILING = {"okta": "okta.users.read.self"}


class Authority:
    """A private authority, and what it issues: files in a folder."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = _name(name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            _draft(self.subject, name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.file = folder / f"{name}.pem"
        self.file.write_text(self.pem)

    def issue(self, name: str, known_as: x509.GeneralName) -> dict[str, str]:
        """A certificate of this authority, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _written(self.folder, name, key, _draft(self.subject, name, key, known_as).sign(self.key, hashes.SHA256()))


def self_signed(folder: Path, name: str) -> dict[str, str]:
    """A certificate that nobody has issued, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    draft = _draft(_name(name), name, key, x509.DNSName(f"{name}.agents.example.com"))
    return _written(folder, name, key, draft.sign(key, hashes.SHA256()))


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _draft(
    issuer: x509.Name, name: str, key: ec.EllipticCurvePrivateKey, known_as: x509.GeneralName | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    draft = x509.CertificateBuilder(issuer, _name(name), key.public_key(), x509.random_serial_number())
    draft = draft.not_valid_before(now - datetime.timedelta(minutes=5))
    draft = draft.not_valid_after(now + datetime.timedelta(hours=12))
    if known_as is None:
        return draft
    return draft.add_extension(x509.SubjectAlternativeName([known_as]), critical=False)


def _written(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, made: x509.Certificate) -> dict[str, str]:
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    # The broker refuses to start with a key that others can read.
    key_file.touch(0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    sha256 = made.fingerprint(hashes.SHA256())
    return {"certificate": str(certificate_file), "key": str(key_file), "sha256": sha256.hex(":").upper()}


def trust(session: requests.Session, ca_file: str) -> None:
    """Takes servers' certificates from that authority, whatever the machine's settings name."""
    session.trust_env, session.verify = False, ca_file


class Broker:
    """The broker's process, and its admin."""

    def __init__(self, valetkey: str, folder: Path, sandbox: dict, authority: Authority):
        self.valetkey, self.folder = valetkey, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.issuer, self.ca_file = f"https://127.0.0.1:{port}", str(authority.file)
        self.browser = requests.Session()
        trust(self.browser, self.ca_file)
        data = folder / "broker"
        made = subprocess.run(
            [valetkey, "init", "--data", str(data), "--issuer", self.issuer], check=True, capture_output=True, text=True
        ).stdout
        self.link = re.search(r"https://\S+/setup\?token=\S+", made)[0]
        own = authority.issue("broker", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        self.config = data / "valetkey.toml"
        text = self.config.read_text().split("[sign_in]")[0].replace("data_dir", "allow_sandbox = true\ndata_dir", 1)
        text = re.sub(r"(?m)^listen = .*$", f'listen = "127.0.0.1:{port}"', text)
        services = requests.get(sandbox["sandbox"] + "/", timeout=CALL_S).json()["providers"]
        origins = "".join(
            f'"https://{host}" = "{sandbox["sandbox"]}{service["path"]}"\n'
            for vendor in services
            for service in vendor["services"]
            for host in service["hosts"]
        )
        self.config.write_text(
            f'{text}\n[sign_in]\nprovider = "okta"\n[tls]\ncertificate = "{own["certificate"]}"\nkey = "{own["key"]}"\n'
            f"[client_certificates]\nask = true\n[outbound.origins]\n{origins}"
        )

    @contextlib.contextmanager
    def running(self):
        """Serves until the block is left."""
        log = self.folder / "broker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self.valetkey, "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            deadline = time.monotonic() + servers.START_S
            while not self._is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise servers.NotStarted(log.read_text(errors="replace")[-2000:])
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(servers.END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _is_ready(self) -> bool:
        try:
            return self.browser.get(self.issuer + "/readyz", timeout=CALL_S).ok
        except requests.ConnectionError:
            return False

    def submit(self, page: requests.Response, field: str, **given: str) -> requests.Response:
        """Fills in the form that has that field."""
        forms = _Forms()
        forms.feed(page.text)
        form = next(form for form in forms.forms if form.has(field))
        fields = [(name, given.pop(name, value)) for name, value in form.fields]
        answer = self.browser.post(
            urljoin(page.url, form.action), data=[*fields, *given.items()], headers={"Origin": self.issuer}, timeout=CALL_S
        )
        answer.raise_for_status()
        return answer

    def first_admin(self) -> None:
        """Follows the set-up link, signs in, and makes a token for the REST API."""
        password = secrets.token_urlsafe(12)
        page = self.browser.get(self.link, timeout=CALL_S)
        page = self.submit(page, "again", email=ADMIN, password=password, again=password)
        self.submit(page, "password", email=ADMIN, password=password)
        page = self.browser.get(self.issuer + "/admin/tokens", timeout=CALL_S)
        page = self.submit(page, "name", name="set-up", role="admin")
        self.token = re.search(r"vka_\w+", page.text)[0]

    def rest(self, path: str, body: dict) -> dict:
        """Something new by the REST API."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.browser.post(f"{self.issuer}/api/v1/{path}", json=body, headers=headers, timeout=CALL_S)
        if not answer.ok:
            raise AssertionError(f"{path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def agent(self, kind: str, certificates: dict, **stated: object) -> str:
        """An agent that signs in by a certificate; its id."""
        said = {"name": f"By certificate, {kind}", "purpose": "Signs in by its certificate.", "owner": OWNER}
        made = self.rest("agents", {"kind": kind, **said, **stated, "sign_in": {"certificates": certificates}})
        return made["id"]


def main() -> None:
    valetkey, folder, info_file = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    servers_ca, clients_ca = Authority(folder, "servers-ca"), Authority(folder, "clients-ca")
    own, successor = self_signed(folder, "own"), self_signed(folder, "successor")
    stranger = self_signed(folder, "stranger")
    uri = "spiffe://example.org/agents/ledger"
    issued = clients_ca.issue("issued", x509.UniformResourceIdentifier(uri))
    namesake = clients_ca.issue("namesake", x509.UniformResourceIdentifier(uri + "/other"))
    with servers.sandbox(Path(valetkey), folder) as sandbox:
        broker = Broker(valetkey, folder, sandbox, servers_ca)
        with broker.running():
            broker.first_admin()
            broker.rest("providers", COMPANY | {key: sandbox[key] for key in ("client_id", "client_secret")})
            password = next(user["password"] for user in sandbox["users"] if user["email"] == OWNER)
            owner = Person(OWNER, password)
            trust(owner.session, broker.ca_file)
            owner.visit(broker.issuer + "/login")
            source = broker.rest("trust-sources", {"name": "Our agents", "ca_pem": clients_ca.pem})
            thumbprints = {"self_signed": {"thumbprints": [own["sha256"], successor["sha256"]]}}
            personal = broker.agent("personal", thumbprints, ceiling=CEILING, default_scopes=CEILING)
            by_name = {"issued": {"authority": source["id"], "name": {"san_uri": uri}}}
            autonomous = broker.agent("autonomous", by_name)
            ledger = {"identifier": LEDGER, "name": "Ledger", "purpose": "Invoices", "scopes": "invoice.read"}
            admission = {"agents": [autonomous], "for": "itself", "scopes": ["invoice.read"]}
            broker.rest("audiences", ledger | {"admissions": [admission]})
            told = {
                "issuer": broker.issuer, "ca_file": broker.ca_file, "audience": LEDGER,
                "owner": {"email": OWNER, "password": password},
                "agents": {"personal": personal, "autonomous": autonomous},
                "certificates": {
                    "own": own, "successor": successor, "stranger": stranger, "issued": issued, "namesake": namesake,
                },
            }
            partial = info_file.with_suffix(".partial")
            partial.write_text(json.dumps(told))
            partial.rename(info_file)
            sys.stdin.read()


if __name__ == "__main__":
    main()
