"""`glta serve`: a published run over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glta_cli.commands.options import DataDirOption, RunOption
from glta_cli.core.errors import InputError


def serve(
    run: RunOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; off this machine a token is required.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65_535, help="The port; 0 takes any that is free.")
    ] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Holds what callers have to bring (also GLTA_TOKEN)."),
    ] = None,
    most_requests: Annotated[
        int, typer.Option("--most-requests", metavar="N", min=1, help="Requests worked on at once.")
    ] = 256,
    receive_seconds: Annotated[
        float,
        typer.Option("--receive-seconds", metavar="SECONDS", min=0.1, help="How long a request may take to come."),
    ] = 10.0,
    grace: Annotated[
        float,
        typer.Option("--grace", metavar="SECONDS", min=0, help="Told to stop, how long requests are still taken."),
    ] = 1.0,
    data_dir: DataDirOption = None,
) -> None:
    """Answer over HTTP from a finished run, with a page.

    It needs the extra `serve`: pip install 'glta[serve]'. Once `glta update` publishes a new index of the run, that is
    taken up while requests go on; SIGTERM and Ctrl-C let what was asked be answered first.

    Example: glta serve --run shop --port 8000
    """
    require_extra()
    from glta_cli.web.limits import Limits
    from glta_cli.web.starting import Start, serve_run

    limits = Limits(requests=most_requests, receive_seconds=receive_seconds, grace_seconds=grace)
    serve_run(Start(run, data_dir, host, port, token_file, limits))


def require_extra() -> None:
    """Raise `InputError` where the packages of the extra are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        problem = f"needs {', '.join(missing)}, of the extra serve"
        raise InputError(problem, location="glta serve", hint="pip install 'glta[serve]'")
