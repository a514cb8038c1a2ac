"""The demo that the tests run against, and the people in it.

`VALETKEY_DEMO_INFO` names the file that `valetkey demo --info` has written; `scripts/sdk` starts it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from valetkey import Valetkey

sys.path.insert(0, str(Path(__file__).parents[3] / "tests/interop"))

from browser import Person

ALICE, BOB = "alice@example.com", "bob@example.com"


class Demo:
    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def agent(self, kind: str) -> dict[str, str]:
        """What that agent finds in its environment."""
        agent = self.info["agents"][kind]
        return {
            "VALETKEY_ISSUER": self.info["issuer"],
            "VALETKEY_CLIENT_ID": agent["id"],
            "VALETKEY_CLIENT_SECRET": agent["secret"],
        }

    def client(self, kind: str, **given: Any) -> Valetkey:
        return Valetkey(environ=self.agent(kind), **given)

    def user(self, email: str) -> dict[str, str]:
        return next(user for user in self.info["users"] if user["email"] == email)

    def person(self, email: str, refuses: frozenset[str] = frozenset()) -> Person:
        return Person(email, self.user(email)["password"], refuses)

    def admin(self, method: str, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self.info['admin']['token']}"}
        answer = httpx.request(method, f"{self.info['issuer']}/api/v1/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text

    def sandbox(self, path: str, body: dict[str, Any]) -> None:
        httpx.post(f"{self.info['sandbox']}/_sandbox/{path}", json=body).raise_for_status()


@pytest.fixture(scope="session")
def demo() -> Demo:
    return Demo(json.loads(Path(os.environ["VALETKEY_DEMO_INFO"]).read_text()))
