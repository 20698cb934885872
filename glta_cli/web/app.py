"""The FastAPI app: its routes, its guards, and what runs beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glta_cli import __version__
from glta_cli.web.asked import names_of_settings
from glta_cli.web.guards import Guard
from glta_cli.web.limits import Limits
from glta_cli.web.measures import Measured
from glta_cli.web.page import router as page
from glta_cli.web.refusals import answer_about_errors
from glta_cli.web.routes import answering, operating
from glta_cli.web.service import Service

DESCRIPTION = """
Recommendations of one published run. Whatever is refused or fails has the body
`{"error": {"where": ..., "what": ..., "hint": ...}}`.
"""


def create_app(service: Service, root: Path, limits: Limits, token: str | None, hosts: Sequence[str] | None) -> FastAPI:
    """The app that serves a run.

    Args:
        root: the folder of the runs, about which a caller is told nothing.
        token: what every request has to bring; None asks for none.
        hosts: names by which the service may be asked; None are all.
    """

    @asynccontextmanager
    async def beside_requests(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.live.follow())
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.close()

    # FastAPI's own pages of documentation load scripts from another host.
    app = FastAPI(
        title="glta serve",
        version=__version__,
        description=DESCRIPTION.strip(),
        lifespan=beside_requests,
        # Describes what the guard asks for.
        dependencies=[] if token is None else [Depends(HTTPBearer(auto_error=False))],
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(answering)
    app.include_router(operating)
    app.include_router(page)
    answer_about_errors(app, root, names_of_settings())
    # The last one added is the first one asked.
    app.add_middleware(Guard, limits=limits, measures=service.measures, token=token, hosts=hosts)
    app.add_middleware(Closing, service=service)
    app.add_middleware(Measured, measures=service.measures)
    return app


class Closing:
    """ASGI middleware that has every connection end with its answer once the service is to stop.

    A caller that would use it again finds another of the services behind the same name, and not one that has gone.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.service.stopping:
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, closing)
