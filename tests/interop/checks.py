"""A suite's tests, run in the order in which they are written: a later one may build on an earlier one."""

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

TESTS: list[Callable] = []
# One HTTP call, to a process on this machine.
CALL_S = 20


def test(function: Callable) -> Callable:
    """Marks a test; the first line of its docstring is its name."""
    TESTS.append(function)
    return function


def equal(found, expected, words: str = "value") -> None:
    """Fails with both values when they differ."""
    if found != expected:
        raise AssertionError(f"{words}: {found!r} instead of {expected!r}")


def sandbox_post(info: dict, path: str, document: dict) -> None:
    """Uses one of the sandbox's controls."""
    import requests

    requests.post(f"{info['sandbox']}/_sandbox/{path}", json=document, timeout=CALL_S).raise_for_status()


def sandbox_state(info: dict, provider: str) -> dict:
    """What a provider of the sandbox has seen."""
    import requests

    answer = requests.get(f"{info['sandbox']}/_sandbox/{provider}/state", timeout=CALL_S)
    answer.raise_for_status()
    return answer.json()


def password_of(info: dict, email: str) -> str:
    """A person's password at the sandbox."""
    return next(user["password"] for user in info["users"] if user["email"] == email)


def main(suite: str) -> None:
    """Runs every test of the calling suite; the first argument is the file with what the servers told."""
    info = json.loads(Path(sys.argv[1]).read_text())
    shared = SimpleNamespace(info=info)
    failed = 0
    for function in TESTS:
        name = f"{suite}: {(function.__doc__ or function.__name__).splitlines()[0].rstrip('.')}"
        try:
            function(shared)
            print(f"ok {name}")
        except Exception as error:
            failed += 1
            at = traceback.extract_tb(error.__traceback__)[-1]
            words = " ".join(str(error).split())
            print(f"FAILED {name}: {type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {words}")
    sys.exit(1 if failed else 0)
