"""The process that listens: its socket, signals that have it stop, and connections that say nothing."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.terminal import say
from glta_cli.web.guards import LINGER_SECONDS
from glta_cli.web.refusals import Problem, response

if TYPE_CHECKING:
    from fastapi import FastAPI

    from glta_cli.web.limits import Limits

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
BACKLOG: Final = 2_048
# Connections beside requests: each costs a descriptor, and a process commonly has 1,024 of them.
MOST_CONNECTIONS: Final = 900
KEEP_ALIVE_SECONDS: Final = 30
NO_REQUEST: Final = Problem(
    where="request",
    what="it is no request of HTTP, or its address and headers are too long",
    hint="POST /v1/recommendations takes long lists in its body",
)


def is_loopback(host: str) -> bool:
    """Whether every address of that name leads to this machine alone.

    Raises:
        InputError: it is no name of this machine.
    """
    return all(ipaddress.ip_address(address).is_loopback for _, address in _addresses(host))


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to that address: nobody is let in before the service listens.

    Raises:
        InputError: the port is in use, or is not this user's to take, or the address is not this machine's.
    """
    family, address = _addresses(host)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    # The port of a service that has just ended may be taken again at once.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, port))
    except OSError as error:
        found.close()
        raise _not_bound(error, host, port) from error
    return found


def address_of(listening: socket.socket, host: str) -> str:
    """Where the service is found, such as `http://127.0.0.1:8000`."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        hint = "127.0.0.1 is asked by this machine alone, 0.0.0.0 by every other"
        raise InputError(f"'{host}' is no address of this machine", location="--host", hint=hint) from error
    return [(family, str(address[0]).partition("%")[0]) for family, _, _, _, address in found]


def _not_bound(error: OSError, host: str, port: int) -> GltaError:
    if error.errno == errno.EADDRINUSE:
        hint = f"--port {port + 1 if port < 65_535 else 8_000}, or --port 0 for any that is free"
        return InputError(f"port {port} of {host} is in use by another program", location="--port", hint=hint)
    if error.errno == errno.EACCES:
        return InputError(f"port {port} is not yours to take", location="--port", hint="take one from 1024 on")
    if error.errno == errno.EADDRNOTAVAIL:
        hint = "127.0.0.1 is asked by this machine alone, 0.0.0.0 by every other"
        return InputError(f"'{host}' is no address of this machine", location="--host", hint=hint)
    return GltaError(f"port {port} of {host} cannot be listened at: {error.strerror or error}", location="--port")


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP over h11, but for connections that say nothing, and for what is no request.

    uvicorn waits for the end of a request's head without end, so that connections which say nothing could take all
    there are; here they are closed. And what is no request, or has a head too long, is told so as everything else is.
    """

    head_seconds: float
    _waiting_for_head: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._refused:
            return
        if self._at_work():
            self._end_waiting()
        elif self._waiting_for_head is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong; what still comes is dropped for a while, since bytes unread take the answer with them."""
        self._refused = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        answer = response(400, [NO_REQUEST])
        headers = [("content-type", answer.media_type or ""), ("content-length", str(len(answer.body)))]
        begin = h11.Response(status_code=400, headers=[*headers, ("connection", "close")], reason=b"Bad Request")
        for event in (begin, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.write_eof()
        self._end_waiting()
        self._waiting_for_head = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._waiting_for_head = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _end_waiting(self) -> None:
        if self._waiting_for_head is not None:
            self._waiting_for_head.cancel()
            self._waiting_for_head = None

    def _head_is_late(self) -> None:
        self._waiting_for_head = None
        if self._at_work() or self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE:
            self.conn.send(h11.ConnectionClosed())
        self.transport.close()


class DrainingServer(Server):
    """uvicorn's server, which on a signal says that it stops, goes on for a moment, and then answers what it has taken.

    Args:
        listens: called once connections are taken.
        draining: called once a signal came.
        grace_seconds: from then until no connection is taken any more.
    """

    def __init__(
        self, config: Config, listens: Callable[[], None], draining: Callable[[], None], grace_seconds: float
    ) -> None:
        super().__init__(config)
        self.listens = listens
        self.draining = draining
        self.grace_seconds = grace_seconds
        self.cut_off = 0
        self._stopping: asyncio.TimerHandle | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the service, not the process: what they did before they do again afterwards."""
        loop = asyncio.get_running_loop()

        def stop(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.stop)

        before = {number: signal.signal(number, stop) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def stop(self) -> None:
        """Begin to stop; a second time, stop now."""
        if self._stopping is not None:
            self.should_exit = self.force_exit = True
            return
        self.draining()
        say("stopping: what was asked is answered first (Ctrl-C again: now)")
        self._stopping = asyncio.get_running_loop().call_later(self.grace_seconds, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and whoever started it is told."""
        await super().startup(sockets)
        self.listens()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and it is known afterwards how many requests had no answer."""
        await super().shutdown(sockets)
        self.cut_off = len(self.server_state.tasks)


class _Told(logging.Handler):
    """What uvicorn logs as an error, as a line of ours: a request may not command the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it on stderr."""
        from rich.markup import escape

        say(f"[red]error[/]: {escape(self.format(record))}")


def _log_errors() -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers, logger.propagate = [_Told()], False
    logger.setLevel(logging.ERROR)


def serve(
    app: FastAPI, listening: socket.socket, limits: Limits, listens: Callable[[], None], draining: Callable[[], None]
) -> None:
    """Answer at that socket until a signal comes, and then until what was asked is answered.

    Args:
        listens: called once connections are taken.
        draining: called once a signal came.

    Raises:
        GltaError: requests were cut off, since they lasted longer than they may.
    """
    protocol = type("Protocol", (PromptProtocol,), {"head_seconds": limits.receive_seconds})
    options: dict[str, Any] = {
        "http": protocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "backlog": BACKLOG,
        "limit_concurrency": MOST_CONNECTIONS,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": limits.drain_seconds,
    }
    _log_errors()
    server = DrainingServer(Config(app, **options), listens, draining, limits.grace_seconds)
    server.run(sockets=[listening])
    if server.cut_off:
        hint = f"requests may last {limits.drain_seconds:g} seconds once it stops"
        raise GltaError(f"{counted(server.cut_off, 'request was', 'requests were')} cut off", hint=hint)
