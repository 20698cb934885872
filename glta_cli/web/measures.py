"""What the service counts and times, as Prometheus reads it."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
# Paths of nobody's making would make a series each.
UNKNOWN_ROUTE: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


class Measures:
    """The figures of one service.

    Attributes:
        in_flight: requests that are worked on.
        waiting: requests that wait for the language model.
        batches: how many requests were answered together, by what answered them.
        refused: requests refused because of too much to do, by what was full.
        updates: indices taken up since the start, by whether that went well.
        interactions: from how many interactions it answers.
    """

    def __init__(self) -> None:
        # A second series of each figure, with when it was begun, says nothing that the process's start does not.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "glta_http_requests_total", "Answers.", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "glta_http_request_seconds",
            "From the head of a request to the end of its answer.",
            ("route", "method"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("glta_http_requests_in_flight", "Requests worked on.", registry=self.registry)
        self.waiting = Gauge(
            "glta_language_waiting", "Requests that wait for the language model.", registry=self.registry
        )
        self.batches = Histogram(
            "glta_batch_size", "Requests answered together.", ("by",), buckets=BATCHES, registry=self.registry
        )
        self.refused = Counter(
            "glta_refused_total", "Requests refused because of too much to do.", ("full",), registry=self.registry
        )
        self.updates = Counter(
            "glta_index_updates_total", "Newly published indices looked at.", ("outcome",), registry=self.registry
        )
        self.interactions = Gauge("glta_interactions", "Interactions it answers from.", registry=self.registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        method = method if method in METHODS else UNKNOWN_ROUTE
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that counts and times every answer by its route."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app = app
        self.measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.measures.in_flight.inc()
        try:
            await self.app(scope, receive, sent)
        finally:
            self.measures.in_flight.dec()
            route = getattr(scope.get("route"), "path_format", UNKNOWN_ROUTE)
            self.measures.answered(route, scope["method"], status, time.perf_counter() - start)
