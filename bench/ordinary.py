"""The ordinary way, to compare with: FastStream as its documentation shows it, one message per fact, one handler, one
SQLAlchemy session and one publish each. `python -m bench.ordinary checkin|reporting|certificate MAX_WORKERS`.
"""

import os
import sys
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import uvloop
from faststream import FastStream
from faststream.nats import JStream, NatsBroker
from pydantic import BaseModel
from sqlalchemy import BigInteger, DateTime
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

REQUIRED_DAYS = 2
CHINA = timezone(timedelta(hours=8))
LIVE_FROM, LIVE_TO = time(19, 30), time(20, 0)


class Base(DeclarativeBase):
    pass


class Checkin(Base):
    __tablename__ = "checkin"
    campaign_id: Mapped[str] = mapped_column(primary_key=True)
    viewer_id: Mapped[str] = mapped_column(primary_key=True)
    lesson_date: Mapped[date] = mapped_column(primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    unit_code: Mapped[str]
    group_code: Mapped[str]
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Total(Base):
    __tablename__ = "total"
    campaign_id: Mapped[str] = mapped_column(primary_key=True)
    lesson_date: Mapped[date] = mapped_column(primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    unit_code: Mapped[str] = mapped_column(primary_key=True)
    group_code: Mapped[str] = mapped_column(primary_key=True)
    checkins: Mapped[int] = mapped_column(BigInteger)


class Progress(Base):
    __tablename__ = "progress"
    campaign_id: Mapped[str] = mapped_column(primary_key=True)
    viewer_id: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int]


class Completion(Base):
    __tablename__ = "completion"
    campaign_id: Mapped[str] = mapped_column(primary_key=True)
    viewer_id: Mapped[str] = mapped_column(primary_key=True)


class LiveEvent(BaseModel):
    event_id: str
    type: str
    campaign_id: str
    viewer_id: str
    occurred_at: datetime


class Recorded(BaseModel):
    campaign_id: str
    viewer_id: str
    lesson_date: date
    mode: str
    unit_code: str
    group_code: str
    credited_days: int


def lesson_and_mode(occurred_at: datetime) -> tuple[date, str]:
    local = occurred_at.astimezone(CHINA)
    return local.date(), "live" if LIVE_FROM <= local.time() < LIVE_TO else "replay"


def build(service: str, max_workers: int) -> FastStream:
    broker = NatsBroker(os.environ["NATS_URL"], logger=None)  # two lines a message would cost it a fifth
    sessions = async_sessionmaker(
        create_async_engine(
            os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
            pool_size=max_workers,
            connect_args={"server_settings": {"application_name": "bench"}},
        ),
        expire_on_commit=False,
    )
    stream = JStream("ORDINARY", declare=False)

    async def record(event: LiveEvent) -> None:
        lesson_date, mode = lesson_and_mode(event.occurred_at)
        async with sessions.begin() as session:
            new = await session.scalar(
                insert(Checkin)
                .values(
                    campaign_id=event.campaign_id,
                    viewer_id=event.viewer_id,
                    lesson_date=lesson_date,
                    mode=mode,
                    unit_code="unassigned",
                    group_code="unassigned",
                    occurred_at=event.occurred_at,
                )
                .on_conflict_do_nothing()
                .returning(Checkin.viewer_id)
            )
            if new is None:
                return
            days = await session.scalar(
                insert(Progress)
                .values(campaign_id=event.campaign_id, viewer_id=event.viewer_id, days=1)
                .on_conflict_do_update(index_elements=["campaign_id", "viewer_id"], set_={"days": Progress.days + 1})
                .returning(Progress.days)
            )
        recorded = Recorded(
            campaign_id=event.campaign_id,
            viewer_id=event.viewer_id,
            lesson_date=lesson_date,
            mode=mode,
            unit_code="unassigned",
            group_code="unassigned",
            credited_days=days or 0,
        )
        await broker.publish(recorded, "ordinary.recorded", stream="ORDINARY", timeout=5)

    async def add_to_totals(event: Recorded) -> None:
        async with sessions.begin() as session:
            row = insert(Total).values(event.model_dump(exclude={"viewer_id", "credited_days"}) | {"checkins": 1})
            await session.execute(
                row.on_conflict_do_update(
                    index_elements=["campaign_id", "lesson_date", "mode", "unit_code", "group_code"],
                    set_={"checkins": Total.checkins + 1},
                )
            )

    async def keep_completion(event: Recorded) -> None:
        if event.credited_days < REQUIRED_DAYS:
            return
        async with sessions.begin() as session:
            row = insert(Completion).values(campaign_id=event.campaign_id, viewer_id=event.viewer_id)
            await session.execute(row.on_conflict_do_nothing())

    handlers: dict[str, tuple[str, Any]] = {
        "checkin": ("ordinary.event", record),
        "reporting": ("ordinary.recorded", add_to_totals),
        "certificate": ("ordinary.recorded", keep_completion),
    }
    subject, handler = handlers[service]
    broker.subscriber(subject, stream=stream, durable=f"ordinary-{service}", max_workers=max_workers)(handler)
    return FastStream(broker, logger=None)


if __name__ == "__main__":
    uvloop.run(build(sys.argv[1], int(sys.argv[2])).run())
