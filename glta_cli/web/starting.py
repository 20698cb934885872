"""Everything between the command and the first request."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.errors import InputError
from glta_cli.core.printable import printable
from glta_cli.core.terminal import say
from glta_cli.web.app import create_app
from glta_cli.web.described import known_in_words
from glta_cli.web.limits import Limits
from glta_cli.web.live_run import LiveRun
from glta_cli.web.measures import Measures
from glta_cli.web.server import address_of, is_loopback, listening_socket, serve
from glta_cli.web.service import Service
from glta_cli.web.token import required_off_loopback, token_from
from glta_cli.workspace.workspace import Workspace

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


# What is told of a machine that others can ask.
UNENCRYPTED: Final = "answers go over the network as they are: let a proxy in front of it speak TLS"


@dataclass(frozen=True)
class Start:
    """What `glta serve` was told."""

    run: str | None
    data_dir: Path | None
    host: str
    port: int
    token_file: Path | None
    limits: Limits


def serve_run(start: Start) -> None:
    """Answer from a published run until a signal comes.

    Raises:
        InputError: there is no such run, or it has published nothing that answers; the port is in use; others could
            ask and there is no token.
        GltaError: requests were cut off at the end.
    """
    token, local = token_from(start.token_file), is_loopback(start.host)
    if not local and token is None:
        raise required_off_loopback(start.host)
    with closing(listening_socket(start.host, start.port)) as listening:
        measures = Measures()
        service = Service(live_run(start.run, start.data_dir, measures), start.limits, measures)
        # A token is proof enough, whatever name a proxy asks by.
        hosts = None if token is not None else (*LOCAL_NAMES, start.host)
        app = create_app(service, Workspace(start.data_dir).root, start.limits, token, hosts)

        def listens() -> None:
            print("\n".join(lines(service.run, address_of(listening, start.host), token is not None)), flush=True)
            if not local:
                say(f"[yellow]warning[/]: {UNENCRYPTED}")

        serve(app, listening, start.limits, listens, service.stop)


def live_run(name: str | None, data_dir: Path | None, measures: Measures) -> LiveRun:
    """The run of that name, or else the latest finished one, whose name is kept: another run is another service."""
    begun = time.time_ns()
    first = warmed(Run.load(name, data_dir))
    return LiveRun(
        first,
        Workspace(data_dir).run_path(first.name),
        lambda: warmed(Run.load(first.name, data_dir)),
        begun,
        measures,
    )


def warmed(run: Run) -> Run:
    """The run once it has answered: what is read and computed a first time is there for the next."""
    index = run.index
    asked = [Question(user=index.user_ids[0]), Question(history=(index.item_ids[0],))]
    for question in asked:
        # Of somebody the log names no more, or where the language model alone answers, nothing is to be had.
        with suppress(InputError):
            run.answers([question])
    run.catalogue.search(index.titles[0], 1)
    return run


def lines(run: Run, address: str, with_token: bool) -> list[str]:
    """What is served and where, for the terminal."""
    asked = "with the token" if with_token else "from this machine alone"
    return [
        f"serving run {printable(run.name)} (dataset {printable(run.dataset)})",
        f"  at     {address}, asked {asked}",
        f"  rows   {', '.join(map(printable, run.rows))}",
        f"  data   {known_in_words(run)}",
        f"  how    {address}/openapi.json",
        "  stop   Ctrl-C",
    ]
