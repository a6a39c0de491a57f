"""The frame of every service: one process, one FastAPI app, its database, bus, due work, health, metrics and errors.

`build_service` is the only way in. It connects nothing by itself: the lifespan starts the parts, and a part that cannot reach its
server keeps trying, so a service may start before its database or the bus. Readiness says what is missing.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi_swagger import patch_fastapi  # type: ignore[import-untyped]
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute

from shared.bus import Bus, outbox
from shared.bus.dead_letters import DeadLetters, Replays
from shared.clock import Clock
from shared.database import Database, migrate
from shared.database.heartbeat import Heartbeat
from shared.pages import favicon
from shared.people import sessions
from shared.service import metrics, problems
from shared.service.bodies import Bodies
from shared.service.due import DueWork, in_transaction
from shared.service.head_requests import HeadAsGet
from shared.service.logging import configure_logging
from shared.service.refusals import Answers
from shared.service.sessions import SessionVerifier
from shared.service.tokens import TokenVerifier
from shared.settings import ServiceSettings

log = structlog.get_logger()

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

READY_TIMEOUT_S = 3.0
RESTART_PART_S = 1.0
FORGET_EVERY_S = 600.0
STOP_GRACE_S = 20
CONNECTIONS_MAX = 1_000  # beyond it a bare 503; the server itself keeps up to 128 KiB of what each has sent
M_ARENA_MAX = -8  # of malloc.h


@dataclass
class Service:
    """The parts of a running service; `app.state.service`."""

    name: str
    settings: ServiceSettings
    db: Database
    bus: Bus
    clock: Clock
    metrics: metrics.ServiceMetrics
    heartbeat: Heartbeat
    due_work: list[DueWork] = field(default_factory=list)
    needs_bus: bool = True

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether the service can do its work, and one sentence per check that says what is wrong."""
        checks = {"database": await self.heartbeat.check(READY_TIMEOUT_S), "bus": self._bus_check()}
        ready = checks["database"] == "ok" and (checks["bus"] == "ok" or not self.needs_bus)
        return ready, checks

    def _bus_check(self) -> str:
        state = self.bus.state()
        if not state.connected:
            return "not connected to NATS"
        unhealthy = [f"{name}: {durable.reason}" for name, durable in state.durables.items() if not durable.healthy]
        return "; ".join(unhealthy) or "ok"

    async def settled(self) -> bool:
        """Whether nothing is left to do at the clock's time: due work, outbox and consumers are empty."""
        done = 0
        for work in self.due_work:
            done += await work.run_until_done(self.clock, self.metrics)
        async with self.db.transaction() as tx:
            waiting, _ = await outbox.pending(tx)
        if done or waiting or not self.bus.connected:
            return False
        return not any((await self.bus.pending()).values())


def database_of(settings: ServiceSettings, name: str) -> Database:
    """The service's database, with one connection more than work needs: readiness must not take one away from work."""
    return Database(settings.database_url, pool_size=settings.database_pool_size + 1, application_name=name)


def build_service(
    name: str,
    settings: ServiceSettings,
    *,
    title: str,
    description: str,
    db: Database,
    bus: Bus,
    clock: Clock,
    routes: Sequence[BaseRoute] = (),
    routers: Sequence[APIRouter] = (),
    due_work: Sequence[DueWork] = (),
    exact: Iterable[metrics.Collector] = (),
    background: Sequence[Callable[[], Awaitable[None]]] = (),
    needs_bus: bool = True,
    refusals: Answers | None = None,
    watched_answers: Iterable[metrics.Answer] = (),
) -> FastAPI:
    """Composes a service. `routes` are tried before `routers`; `background` are loops that run as long as the service does;
    `refusals` says how what its use cases refuse is answered; `watched_answers` are those whose growth an alert watches."""
    service_metrics = metrics.ServiceMetrics(db, exact, watched_answers)
    bus.register_metrics(service_metrics.registry)
    reader = Database(settings.database_url, pool_size=1, application_name=f"{name}-heartbeat")
    heartbeat = Heartbeat(db, reader, migrate.newest_schema(name))
    heartbeat.register_metrics(service_metrics.registry)
    work = [*due_work, *_due_in_every_service(db, bus)]
    service = Service(name, settings, db, bus, clock, service_metrics, heartbeat, work, needs_bus)
    bus.on_park(DeadLetters(db))
    app = _bare_app(title, description, _lifespan(service, background))
    app.state.service = service
    app.state.token_verifier = TokenVerifier(settings.token_public_key)
    app.state.session_verifier = SessionVerifier(settings.session_public_key)
    app.state.bodies = Bodies()
    problems.install(app, refusals)
    _add_routes(app, service, routes, routers)
    app.add_middleware(metrics.MeasureRequests, metrics=service_metrics)
    app.add_middleware(HeadAsGet)
    return app


def _due_in_every_service(db: Database, bus: Bus) -> list[DueWork]:
    return [
        DueWork("dead_letter_replays", Replays(db, bus.handle).run),
        DueWork("ended_sessions", in_transaction(db, lambda tx, _: sessions.forget_ended(tx)), FORGET_EVERY_S),
    ]


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def _lifespan(service: Service, background: Sequence[Callable[[], Awaitable[None]]]) -> Lifespan:
    """Starts bus and loops with the app, and stops them with it."""
    relay = outbox.Relay(service.db, service.bus)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loops = [
            relay.run,
            service.heartbeat.run,
            *background,
            *(lambda work=work: work.run_for_ever(service.clock, service.metrics) for work in service.due_work),
        ]
        tasks = [asyncio.create_task(service.bus.start())]
        tasks += [asyncio.create_task(_keep_running(loop)) for loop in loops]
        log.info("started", service=service.name, simulated_clock=service.clock.simulated)
        try:
            yield
        finally:
            await service.bus.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await service.heartbeat.close()
            await service.db.close()
            log.info("stopped", service=service.name)

    return lifespan


def _bare_app(title: str, description: str, lifespan: Lifespan) -> FastAPI:
    app = FastAPI(
        title=title,
        description=description,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # Looking for a provider of each took 3 % of a small post.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    patch_fastapi(app, redirect_from_root_to_docs=False)  # /docs from our own files: offices may have no internet
    return app


def _add_routes(app: FastAPI, service: Service, routes: Sequence[BaseRoute], routers: Sequence[APIRouter]) -> None:
    """The service's own `routes` first, which are tried first; then health and metrics; then its `routers`."""
    app.routes.extend(routes)
    app.include_router(_health(service))
    app.add_route("/metrics", service.metrics.page, include_in_schema=False)
    app.add_route("/favicon.ico", favicon, include_in_schema=False)
    for router in routers:
        app.include_router(router)


async def _keep_running(loop: Callable[[], Awaitable[Any]]) -> None:
    """Runs a loop for ever: one that fails is logged and started again, and does not end the service."""
    while True:
        with suppress(Exception):
            try:
                await loop()
            except Exception:
                log.exception("a background loop failed; it starts again")
                raise
        await asyncio.sleep(RESTART_PART_S)


def _health(service: Service) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="The process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/ready", summary="The service can do its work, or says what is missing")
    async def ready() -> JSONResponse:
        able, checks = await service.readiness()
        status = "unavailable" if not able else "ready" if set(checks.values()) == {"ok"} else "degraded"
        body = {"status": status, "service": service.name, "checks": checks, "clock": service.clock.now().isoformat()}
        return JSONResponse(body, 200 if able else 503)

    if service.clock.simulated:

        @router.post("/settle", summary="Simulated clock only: do what is due, say whether anything is left")
        async def settle() -> dict[str, Any]:
            return {"clock": service.clock.now().isoformat(), "settled": await service.settled()}

    return router


def _calm_garbage_collector() -> None:
    """Makes the garbage collector skip the objects that the app consists of, and run more rarely: batches make many short-lived
    objects, and with the default threshold (700) a quarter of checkin's time went into collections (docs/performance.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _share_one_arena() -> None:
    """Makes all threads share one arena of malloc. glibc would give each its own, which keeps what was freed: 24 MiB in
    certificate after 1,800 PDFs. Does nothing on other C libraries, which have no such function."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)


def run(name: str, build_app: Callable[[SettingsT], FastAPI], settings_class: type[SettingsT]) -> None:
    """Serves until SIGTERM or SIGINT, with settings from the environment: one uvicorn process, uvloop and httptools."""
    settings = settings_class()  # type: ignore[call-arg]  # from the environment
    configure_logging(name, settings.log_level)
    started = time.perf_counter()
    _share_one_arena()
    app = build_app(settings)
    _calm_garbage_collector()
    log.info("listening", host=settings.host, port=settings.port, built_in_s=round(time.perf_counter() - started, 2))
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_GRACE_S,
        backlog=4096,
        limit_concurrency=CONNECTIONS_MAX,
    )
