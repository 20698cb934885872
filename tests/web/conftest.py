"""A service as a caller meets it: in this process, and as a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from glta_cli.stages.lineage import SERVING

LOCAL = "http://127.0.0.1"


@pytest.fixture(scope="session")
def served_root(run_toy: Any, toy_root: Path) -> Path:
    """A workspace with a run, `served`, that answers, and another, `read`, which the language model alone does for."""
    run_toy("fusion.terms=[encoder, llm, ease]", stage=SERVING, name="served")
    run_toy("fusion.terms=[llm]", stage=SERVING, name="read")
    return toy_root


@pytest.fixture(scope="session")
def shop_with_events(run_toy: Any, shop_folder: Path) -> str:
    """The name of a run, in the same workspace, of a log of views, carts and purchases: what is bought is seen."""
    source = [f"dataset.source={shop_folder / 'log.csv'}", "dataset.options.items=products.csv"]
    events = ["dataset.options.events={purchase: 3, view: 1}", "dataset.options.seen=[purchase]"]
    at_once = ["fusion.terms=[ease, encoder]", "finetune.enabled=false", "align.enabled=false"]
    run_toy(*source, *events, *at_once, stage=SERVING, name="events-of-a-shop")
    return "events-of-a-shop"


@pytest.fixture
def make_client(served_root: Path) -> Iterator[Callable[..., TestClient]]:
    """A client of the service in this process; what is given by further names replaces limits."""
    opened = []

    def make(token: str | None = None, run: str = "served", **limits: Any) -> TestClient:
        from glta_cli.web.app import create_app
        from glta_cli.web.limits import Limits
        from glta_cli.web.measures import Measures
        from glta_cli.web.service import Service
        from glta_cli.web.starting import LOCAL_NAMES, live_run

        measures, kept = Measures(), Limits(**limits)
        service = Service(live_run(run, served_root, measures), kept, measures)
        hosts = None if token else LOCAL_NAMES
        app = create_app(service, served_root, kept, token, hosts)
        client = TestClient(app, base_url=LOCAL, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


@dataclass
class Server:
    """`glta serve` as a process."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        found = re.search(r"http://[\w.:\[\]]+", "".join(self.out))
        return found[0] if found else ""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=60)

    def terminate(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)


@pytest.fixture
def serve(served_root: Path) -> Iterator[Callable[..., Server]]:
    """Start `glta serve` with further options, and wait until it listens or has ended."""
    started: list[Server] = []

    def start(*options: str, root: Path = served_root, run: str = "served", **environment: str) -> Server:
        command = [sys.executable, "-m", "glta_cli", "serve", "--run", run, "--port", "0", *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "GLTA_DATA_DIR": str(root), **environment},
        )
        server = Server(process)
        started.append(server)
        for stream, kept in ((process.stdout, server.out), (process.stderr, server.err)):
            threading.Thread(target=lambda s=stream, k=kept: k.extend(s), daemon=True).start()
        until = time.monotonic() + 300  # a busy machine
        while not any("Ctrl-C" in line for line in server.out) and process.poll() is None:
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.02)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def own_root(served_root: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, to publish in."""
    root = tmp_path / "workspace"
    shutil.copytree(served_root, root)
    return root
