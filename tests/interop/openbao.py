"""The seal of a real OpenBao: rekey into it, start by it, fail clearly without it.

Usage: openbao.py PATH-TO-valetkey PATH-TO-bao
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT_TOKEN = "test-root"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, is_so, seconds=60):
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.1)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class Bao:
    def __init__(self, binary):
        self.address = f"http://127.0.0.1:{free_port()}"
        host = self.address.removeprefix("http://")
        arguments = ["server", "-dev", f"-dev-listen-address={host}", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token"]
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("OpenBao", lambda: answers(self.address + "/v1/sys/health"))

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(self.address + "/v1/" + path, data, {"X-Vault-Token": ROOT_TOKEN}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def token(self, policy):
        self.call("PUT", "sys/policies/acl/valetkey", {"policy": policy})
        made = self.call("POST", "auth/token/create", {"policies": ["valetkey"], "no_default_policy": True})
        return made["auth"]["client_token"]

    def end(self):
        self.process.terminate()
        self.process.wait()


def run(valetkey, *arguments, ok=True):
    done = subprocess.run([valetkey, *arguments], capture_output=True, text=True, timeout=60, env={})
    if (done.returncode == 0) != ok:
        sys.exit(f"{arguments}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def start(valetkey, config, issuer):
    server = subprocess.Popen([valetkey, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={})
    wait_for("the broker", lambda: answers(issuer + "/readyz"))
    server.terminate()
    if server.wait(30) != 0:
        sys.exit("the broker did not end well")


def main(valetkey, bao_binary):
    bao = Bao(bao_binary)
    try:
        bao.call("POST", "sys/mounts/transit", {"type": "transit"})
        bao.call("POST", "transit/keys/valetkey")
        policy = "\n".join(
            f'path "transit/{operation}/valetkey" {{ capabilities = ["update"] }}'
            for operation in ("datakey/plaintext", "decrypt")
        )
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "vk"
            issuer = f"http://127.0.0.1:{free_port()}"
            run(valetkey, "init", "--data", str(place), "--issuer", issuer)
            config = place / "valetkey.toml"
            text = config.read_text()
            token = place / "bao.token"
            token.touch(mode=0o600)
            token.write_text(bao.token(policy) + "\n")
            seal = f'[seal.transit]\naddress = "{bao.address}"\nkey = "valetkey"\ntoken_file = "bao.token"\n'
            before, after = text.split("[root_key]\n", 1)
            sealed = place / "sealed.toml"
            sealed.write_text(before + seal + after.split("\n", 1)[1])
            run(valetkey, "vault", "rekey", "--config", str(config), "--settings", str(sealed))
            start(valetkey, str(sealed), issuer)
            print("sealed by OpenBao, started by it")
            # The engine's key moves on; what it wrapped before still opens.
            bao.call("POST", "transit/keys/valetkey/rotate")
            start(valetkey, str(sealed), issuer)
            print("started after the engine's key was rotated")
            right = token.read_text()
            token.write_text(bao.token('path "transit/decrypt/other" { capabilities = ["update"] }') + "\n")
            words = run(valetkey, "serve", "--config", str(sealed), ok=False)
            assert "token may not use the key" in words, words
            token.write_text(right)
            bao.call("PUT", "sys/seal")
            began = time.monotonic()
            words = run(valetkey, "serve", "--config", str(sealed), ok=False)
            assert "sealed itself" in words, words
            bao.end()
            words = run(valetkey, "serve", "--config", str(sealed), ok=False)
            assert "cannot be reached" in words and bao.address in words, words
            print(f"refused to start without it, twice in {time.monotonic() - began:.1f} s")
    finally:
        bao.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
