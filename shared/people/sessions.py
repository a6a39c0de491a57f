"""Which sessions of the office's people are over: each service keeps that by itself and asks nobody (DESIGN §5.5).

A session is a signed cookie (shared/service/sessions.py). It is over once a newer generation of its person is known here, or its
own end. What is not known yet is not over: the news travels as events, within seconds while the bus is up.
"""

from datetime import datetime
from uuid import UUID

from faststream.nats import NatsRouter

from shared.bus import build_router
from shared.bus.consuming import consume
from shared.contracts.reporting import PersonChangedV1, SessionEndedV1
from shared.database import Database, Transaction


async def keep_generation(tx: Transaction, person_id: UUID, generation: int) -> None:
    """Keeps the highest generation of a person."""
    await tx.execute(
        "INSERT INTO person_generation AS known VALUES ($1, $2) ON CONFLICT (person_id) DO UPDATE "
        "SET generation = excluded.generation WHERE known.generation < excluded.generation",
        person_id,
        generation,
    )


async def keep_ended(tx: Transaction, session: bytes, keep_until: datetime) -> None:
    await tx.execute("INSERT INTO ended_session VALUES ($1, $2) ON CONFLICT DO NOTHING", session, keep_until)


async def is_over(tx: Transaction, session: bytes, person_id: UUID, generation: int) -> bool:
    over: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM ended_session WHERE session = $1) "
        "OR EXISTS (SELECT FROM person_generation WHERE person_id = $2 AND generation > $3)",
        session,
        person_id,
        generation,
    )
    return over


async def forget_ended(tx: Transaction) -> int:
    """Deletes the sessions that would be over by themselves now (wall time, as cookies expire); returns how many."""
    return await tx.change("DELETE FROM ended_session WHERE keep_until <= now()")


def build_session_consumers(db: Database, service: str) -> NatsRouter:
    """The handlers of a service that has pages but does not own the people."""
    router = build_router()

    @consume(router, db, PersonChangedV1, durable=f"{service}-persons")
    async def keep_person(tx: Transaction, event: PersonChangedV1) -> None:
        """Keeps which sessions of a person are over."""
        await keep_generation(tx, event.person_id, event.generation)

    @consume(router, db, SessionEndedV1, durable=f"{service}-ended-sessions")
    async def keep_ended_session(tx: Transaction, event: SessionEndedV1) -> None:
        """Keeps that somebody signed out."""
        await keep_ended(tx, bytes.fromhex(event.session), event.keep_until)

    return router
