"""Metrics that every service has, and the `/metrics` page. Each service names its own in its `metrics.py`.

Process counters tell about this process. Totals that must be exact are read from the database at scrape time; where the database
does not answer, their series are left out and never 0 (STACK, "Grafana and Prometheus").
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.bus import dead_letters, outbox
from shared.database import Database, Transaction

log = structlog.get_logger()

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of time stamps beside every counter that nobody reads

Collector = Callable[[Transaction], Awaitable[Iterable[Metric]]]


class Answer(NamedTuple):
    """A kind of answer, as `fanzha_http_request_duration_seconds` labels it."""

    method: str
    route: str
    status: str


METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))  # callers may send any other
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Exact:
    """Hands metric families that were read from the database to prometheus_client."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Connections:
    """Counts the database's connections that were refused or closed because they were not clean."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterable[Metric]:
        return [
            CounterMetricFamily(
                "fanzha_database_connections_closed",
                "Connections closed because something on them was interrupted. Many: is the database slow, or the network bad?",
                value=self._db.closed,
            ),
            CounterMetricFamily(
                "fanzha_database_connections_refused",
                "Pooled connections found in a transaction, which would have swallowed commits. Any: alert CommitsNotConfirmed.",
                value=self._db.refused,
            ),
        ]


class ServiceMetrics:
    """The registry of one service process."""

    def __init__(self, db: Database, exact: Iterable[Collector] = (), watched_answers: Iterable[Answer] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU, open files
        self.registry.register(_Connections(db))
        self._db = db
        self._collectors = [_outbox, _dead_letters, *exact]
        self._scrape_errors = Counter(
            "fanzha_scrape_database_errors", "Scrapes without exact totals: is the database up?", registry=self.registry
        )
        self.requests = Histogram(
            "fanzha_http_request_duration_seconds",
            "Requests by route. Slow or 5xx: see the service's log at that time.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        for answer in watched_answers:
            # Starts at 0: a series that began with its first errors would not show any growth.
            self.requests.labels(*answer)
        self.due_work = Histogram(
            "fanzha_due_work_duration_seconds",
            "Runs of repeated work (sweeps). Growing: more is due than one run can do.",
            ["work"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.due_work_failing = Gauge(
            "fanzha_due_work_failing",
            "1 while the last run of this work failed: see the log.",
            ["work"],
            registry=self.registry,
        )

    async def page(self, _: Request) -> Response:
        """`GET /metrics`."""
        families: list[Metric] = []
        try:
            async with self._db.transaction() as tx:
                families = [family for collect in self._collectors for family in await collect(tx)]
        except Exception as error:
            self._scrape_errors.inc()
            log.warning("exact totals left out of /metrics", error=repr(error))
        body = generate_latest(self.registry) + generate_latest(_Exact(families))
        return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _outbox(tx: Transaction) -> Iterable[Metric]:
    depth, age = await outbox.pending(tx)
    return [
        GaugeMetricFamily("fanzha_outbox_pending", "Events not yet published. Growing: is NATS up?", depth),
        GaugeMetricFamily("fanzha_outbox_oldest_seconds", "Age of the oldest unpublished event.", age),
    ]


async def _dead_letters(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_dead_letters", "Messages that no retry can fix: `fanzha dead-letters list`.", labels=["durable"]
    )
    for durable, count in (await dead_letters.counted(tx)).items():
        family.add_metric([durable], count)
    return [family]


class MeasureRequests:
    """ASGI middleware: duration by route template (never a concrete path: that would hold ids)."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in METHODS and route != "unknown" else "other"
            self._metrics.requests.labels(method, route, str(status)).observe(time.perf_counter() - started)
