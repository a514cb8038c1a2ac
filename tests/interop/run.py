"""Runs vendors' own SDKs, unmodified, against the provider sandbox and the broker.

    run.py PATH_TO_VALETKEY

Prints one line per test and a closing line; exits 0 only when every test passed. Nothing is skipped: a suite that
dies or takes too long counts as failed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

import servers  # noqa: E402

HERE = Path(__file__).resolve().parent
# Longer than any suite needs, so that something that hangs becomes a failure.
SUITE_S = 120
SUITES = [
    "entra_msal",
    "lark_sdk",
    "okta_authlib",
    "agent_authlib",
    "agent_spiffe",
    "agent_openid_client",
    "agent_openid_client_dpop",
]
# A copy of `node/` with what it needs, where `scripts/test` has put it.
NODE = HERE.parents[1] / "target/interop-node"


def environment(info: dict) -> dict:
    """What a company's administrator would set for any program behind an outbound proxy, and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {
        "HTTPS_PROXY": info["proxy"],
        "REQUESTS_CA_BUNDLE": info["ca_file"],
        "SSL_CERT_FILE": info["ca_file"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def run_suite(suite: str, info: dict, folder: Path) -> list[str]:
    """Runs one suite in a process of its own and returns its lines."""
    info_file = folder / f"{suite}.json"
    info_file.touch(mode=0o600)
    info_file.write_text(json.dumps(info))
    script = HERE / f"{suite}.py"
    command = [sys.executable, str(script)] if script.exists() else ["node", str(NODE / f"{suite}.mjs")]
    command.append(str(info_file))
    try:
        done = subprocess.run(
            command, env=environment(info), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SUITE_S
        )
        output, errors, code = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        errors, code = "", f"no end within {SUITE_S} s"
    lines = [line for line in output.splitlines() if line.startswith(("ok ", "FAILED "))]
    if code != 0 and not any(line.startswith("FAILED ") for line in lines):
        lines.append(f"FAILED {suite}: ended with {code} {errors.strip()[-2000:]}")
    if not lines:
        lines.append(f"FAILED {suite}: ran no test")
    return lines


def lines(valetkey: Path, folder: Path) -> Iterator[str]:
    """Starts the servers and runs every suite; one line per test."""
    try:
        # The agents' suites work at the demo's broker; the vendors' at a sandbox that shows its client's secret.
        with servers.sandbox(valetkey, folder) as sandbox, servers.demo(valetkey, folder) as demo:
            for suite in SUITES:
                yield from run_suite(suite, demo if suite.startswith("agent_") else sandbox, folder)
    except servers.NotStarted as error:
        yield f"FAILED servers: {error}"


def main() -> int:
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        print("usage: run.py PATH_TO_VALETKEY", file=sys.stderr)
        return 2
    # So that an end by a signal cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    valetkey = Path(sys.argv[1]).resolve()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="valetkey-interop-") as name:
        for line in lines(valetkey, Path(name)):
            print(line, flush=True)
            passed += line.startswith("ok ")
            failed += line.startswith("FAILED ")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
