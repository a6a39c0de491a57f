"""A monolith, to compare with: FastAPI, one transaction per request, totals and completions updated in place; no events, no
other services. It is written as a good engineer would write it, without the tricks of this repository. `python -m
bench.monolith`.
"""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import TypeAdapter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from standardwebhooks import Webhook, WebhookVerificationError

from bench.ordinary import REQUIRED_DAYS, Checkin, Completion, LiveEvent, Progress, Total, lesson_and_mode

CONNECTIONS = 10
events = TypeAdapter(list[LiveEvent])

Key = tuple[str, str, date, str]


def build() -> FastAPI:
    engine = create_async_engine(
        os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={"server_settings": {"application_name": "bench"}},
    )
    webhook = Webhook(os.environ["WEBHOOK_SECRET"])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/live/events")
    async def live_events(request: Request) -> dict[str, Any]:
        body = await request.body()
        try:
            webhook.verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError as error:
            raise HTTPException(401) from error
        content = json.loads(body)
        sent = events.validate_python(content if isinstance(content, list) else [content])
        async with engine.begin() as connection:
            new = await record(connection, sent)
        verdicts = ["recorded" if key in new else "duplicate" for key in map(key_of, sent)]
        results = [{"event_id": e.event_id, "verdict": v, "reason": None} for e, v in zip(sent, verdicts, strict=True)]
        return {"results": results, "counts": Counter(verdicts)}

    return app


def key_of(event: LiveEvent) -> Key:
    return (event.campaign_id, event.viewer_id, *lesson_and_mode(event.occurred_at))


async def record(connection: AsyncConnection, sent: list[LiveEvent]) -> set[Key]:
    """Records the events. Rows are written in a fixed order, so that two requests do not deadlock."""
    unknown = {"unit_code": "unassigned", "group_code": "unassigned"}
    rows = {key_of(event): event.occurred_at for event in sent}
    inserted = await connection.execute(
        insert(Checkin)
        .on_conflict_do_nothing()
        .returning(Checkin.campaign_id, Checkin.viewer_id, Checkin.lesson_date, Checkin.mode),
        [
            {"campaign_id": c, "viewer_id": v, "lesson_date": d, "mode": m, "occurred_at": rows[c, v, d, m], **unknown}
            for c, v, d, m in sorted(rows)
        ],
    )
    new = {(row[0], row[1], row[2], row[3]) for row in inserted}
    if not new:
        return new
    await _complete(connection, Counter((campaign, viewer) for campaign, viewer, _, _ in new))
    sums = Counter((campaign, day, mode) for campaign, _, day, mode in new)
    row = insert(Total)
    await connection.execute(
        row.on_conflict_do_update(
            index_elements=["campaign_id", "lesson_date", "mode", "unit_code", "group_code"],
            set_={"checkins": Total.checkins + row.excluded.checkins},
        ),
        [
            {"campaign_id": c, "lesson_date": d, "mode": m, "checkins": sums[c, d, m], **unknown}
            for c, d, m in sorted(sums)
        ],
    )
    return new


async def _complete(connection: AsyncConnection, lessons: Counter[tuple[str, str]]) -> None:
    row = insert(Progress)
    days = await connection.execute(
        row.on_conflict_do_update(
            index_elements=["campaign_id", "viewer_id"], set_={"days": Progress.days + row.excluded.days}
        ).returning(Progress.campaign_id, Progress.viewer_id, Progress.days),
        [{"campaign_id": c, "viewer_id": v, "days": lessons[c, v]} for c, v in sorted(lessons)],
    )
    if completed := [{"campaign_id": c, "viewer_id": v} for c, v, count in days if count >= REQUIRED_DAYS]:
        await connection.execute(insert(Completion).on_conflict_do_nothing(), completed)


if __name__ == "__main__":
    uvicorn.run(
        build(), host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", access_log=False, log_level="warning"
    )
