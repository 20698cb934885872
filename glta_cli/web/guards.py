"""What is looked at before a request is taken: who asks, how long its body is, how many there are."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glta_cli.web.limits import Limits
from glta_cli.web.measures import Measures
from glta_cli.web.refusals import RefusedError, busy, refused, response_to

OPEN_PATHS: Final = frozenset({"/", "/health", "/ready"})
"""What is answered without a token: whether the service works, and the page, which asks for the token itself."""

OPEN_FOLDER: Final = "/page/"
UNCOUNTED: Final = frozenset({"/health", "/ready", "/metrics"})
# What a caller goes on sending of a body that is refused is read and dropped for so long: a connection that is closed
# with bytes unread takes the answer with it.
LINGER_SECONDS: Final = 2.0
LINGER_BODIES: Final = 32
CLOSE: Final = {"connection": "close"}


class Guard:
    """ASGI middleware that refuses whom it does not know, what is too long or too slow, and what is too much.

    Args:
        token: what every request has to bring as `Authorization: Bearer TOKEN`; None asks for none.
        hosts: names by which the service may be asked; None are all. Without a token it is for programs of this
            machine alone, and a page of a stranger, open in a browser here, can have a name of its own lead here.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, measures: Measures, token: str | None, hosts: Sequence[str] | None
    ) -> None:
        self.app = app
        self.limits = limits
        self.measures = measures
        self.expected = None if token is None else _digest(token)
        self.hosts = hosts
        self.worked_on = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._require_known(scope)
            body = await self._body(scope, receive)
            counted = scope["path"] not in UNCOUNTED
            if counted and self.worked_on >= self.limits.requests:
                self.measures.refused.labels("requests").inc()
                raise busy(f"{self.limits.requests:,} requests are worked on already")
        except RefusedError as error:
            await self._refuse(error, scope, receive, send)
            return
        self.worked_on += counted
        try:
            await self.app(scope, _given(body, receive), send)
        finally:
            self.worked_on -= counted

    def _require_known(self, scope: Scope) -> None:
        """Raise `RefusedError` where the token is not the one, or the name is not one of ours."""
        headers = Headers(scope=scope)
        if self.hosts is not None and _name(headers.get("host", "")) not in self.hosts:
            hint = "ask 127.0.0.1 or localhost, or start glta serve with a token, which lifts this"
            raise refused(421, "Host", "this service is asked by another name than its own", hint, CLOSE)
        open_to_all = scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDER)
        if self.expected is None or open_to_all:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Whatever is given, comparing it takes as long.
        same = hmac.compare_digest(_digest(given.strip()), self.expected)
        if not same or scheme.lower() != "bearer":
            what = "the token is another one" if given else "a token is asked for"
            hint = "send the header Authorization: Bearer TOKEN"
            raise refused(401, "Authorization", what, hint, {"www-authenticate": "Bearer"})

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            RefusedError: it is too long, or does not come in time.
        """
        said = Headers(scope=scope).get("content-length", "0")
        if said.isdecimal() and int(said[:20]) > self.limits.body_bytes:
            raise self._too_long()
        try:
            async with asyncio.timeout(self.limits.receive_seconds):
                return await self._received(receive)
        except TimeoutError:
            what = f"it was not there within {self.limits.receive_seconds:g} seconds"
            raise refused(408, "body", what, "send it whole, or ask for less at once", CLOSE) from None

    async def _received(self, receive: Receive) -> bytes:
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise refused(400, "body", "the caller has gone", None, CLOSE)
            part = message.get("body", b"")
            length += len(part)
            if length > self.limits.body_bytes:
                raise self._too_long()
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_long(self) -> RefusedError:
        what = f"it is longer than {self.limits.body_bytes:,} bytes"
        return refused(413, "body", what, "name fewer items, or ask in several requests", CLOSE)

    async def _refuse(self, error: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and of a body that is still coming read some before the connection is closed."""
        if error.status != 413:
            await response_to(error)(scope, receive, send)
            return

        async def lingering(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await self._read_on(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await response_to(error)(scope, receive, lingering)

    async def _read_on(self, receive: Receive) -> None:
        left = LINGER_BODIES * self.limits.body_bytes
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what comes behind it."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
