"""A run behind FastAPI as one would first write it, to compare `glta serve` with: an answer a request, in its threads.

python tests/benchmarks/plain_service.py [--run NAME]
"""

from __future__ import annotations

import argparse
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from prometheus_client import generate_latest

import glta_cli
from glta_cli.answers.question import Question


def main() -> None:
    """Serve the run at a free port of loopback, and say at which."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="a finished run; the latest one by default")
    run = glta_cli.load(parser.parse_args().run)
    app = FastAPI()

    @app.post("/v1/recommendations")
    def recommendations(asked: dict[str, Any]) -> dict[str, Any]:
        history = asked.get("history")
        return run.answer(Question(asked.get("user"), None if history is None else tuple(history)))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), media_type="text/plain")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json", flush=True)
        uvicorn.Server(uvicorn.Config(app, http="h11", log_level="error", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
