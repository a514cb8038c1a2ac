"""Starts and ends the product's processes, on free ports, in a folder that is deleted afterwards."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 60
END_S = 15


class NotStarted(Exception):
    """A process ended, or said nothing, before it was ready."""


@contextlib.contextmanager
def running(command: list[str], info_file: Path) -> Iterator[dict]:
    """Runs `command` until the block is left; yields what it wrote to `--info`."""
    log = info_file.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_S
        while not info_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace")[-2000:]
                raise NotStarted(f"`valetkey {command[1]}` did not start: {words}")
            time.sleep(0.05)
        yield json.loads(info_file.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def sandbox(valetkey: Path, folder: Path) -> Iterator[dict]:
    """The provider sandbox alone, with its CA in a file."""
    info_file = folder / "sandbox-info.json"
    with running([str(valetkey), "sandbox", "--info", str(info_file)], info_file) as info:
        ca_file = folder / "sandbox-ca.pem"
        ca_file.write_text(info["ca_pem"])
        yield info | {"ca_file": str(ca_file)}


@contextlib.contextmanager
def demo(valetkey: Path, folder: Path) -> Iterator[dict]:
    """The demo: sandbox, broker, people and agents."""
    info_file = folder / "demo-info.json"
    with running([str(valetkey), "demo", "--info", str(info_file)], info_file) as info:
        yield info
