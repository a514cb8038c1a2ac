"""A Chromium that a person would sit in front of, driven over the WebDriver protocol."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE_S = 20
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US"]


class Chromium:
    def __init__(self, driver: httpx.Client) -> None:
        self.driver = driver

    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.driver.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        if answer.is_error:
            raise AssertionError(f"{path}: {value['error']}: {value['message'][:200]}")
        return value

    def open(self, url: str) -> None:
        self.command("POST", "url", {"url": url})

    def found(self, css: str) -> list[str]:
        return [one[ELEMENT] for one in self.command("POST", "elements", {"using": "css selector", "value": css})]

    def types(self, css: str, text: str) -> None:
        (field,) = self.found(css)
        self.command("POST", f"element/{field}/value", {"text": text})

    def presses(self, button: str) -> None:
        """Presses a button, and waits until another page is there."""
        self.command("POST", f"element/{button}/click", {})
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                if button not in self.found("button") and self.found("body"):
                    return
            time.sleep(0.05)
        raise AssertionError("no other page came")

    def words(self) -> str:
        (body,) = self.found("body")
        return str(self.command("GET", f"element/{body}/text"))

    def agrees(self, url: str, email: str, password: str) -> str:
        """Signs in and agrees wherever a page asks for it; the last page's words."""
        self.open(url)
        for _ in range(12):
            if self.found("input[name=password]"):
                self.types("input[name=username]", email)
                self.types("input[name=password]", password)
                (button,) = self.found("form:has(input[name=password]) button")
            elif buttons := self.found("button[name=decision][value=allow], button[name=decision][value=agree]"):
                for box in self.found("input[name=scope]:not(:checked)"):
                    self.command("POST", f"element/{box}/click", {})
                button = buttons[0]
            elif buttons := self.found("form[action^='/login'] button"):
                button = buttons[0]
            else:
                return self.words()
            self.presses(button)
        raise AssertionError(f"no end: {self.words()[:300]}")


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser with nothing in it."""
    program, binary = shutil.which("chromedriver"), shutil.which("chromium")
    assert program and binary, "install chromium and chromedriver: apt-get install chromium chromium-driver"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([program, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The browser may still write while its folder is removed.
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
            httpx.Client(timeout=60, trust_env=False) as plain,
        ):
            base = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE_S
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    plain.get(f"{base}/status")
                    break
                assert time.monotonic() < deadline, "chromedriver does not listen"
                time.sleep(0.05)
            options = {"binary": binary, "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
            wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
            session = plain.post(f"{base}/session", json=wanted).json()["value"]
            assert "sessionId" in session, session
            ours = f"{base}/session/{session['sessionId']}"
            try:
                with httpx.Client(base_url=ours, timeout=60, trust_env=False) as driver:
                    yield Chromium(driver)
            finally:
                # Without a slash at its end: else chromedriver knows no such command, and the browser stays.
                plain.delete(ours)
    finally:
        process.terminate()
        process.wait()
