"""Handlers of events: each names its event and its durable once, and runs in a transaction that it may share with others.

    @consume(router, db, LessonMadeGoodV1, durable="reporting-make-goods")
    async def add_made_good(tx: Transaction, event: LessonMadeGoodV1) -> None: ...

The inbox row is written under the durable's name in the transaction that the handler gets, so an event is applied once
(DESIGN §4.4). Were the name written twice, a slip between the two would make the inbox answer "applied" and lose events unseen.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from faststream.nats import NatsRouter

from shared.bus.inbox import ApplyTogether, apply_once
from shared.bus.subscribing import subscribe
from shared.contracts.base import Event
from shared.database import Database, Transaction

EventT = TypeVar("EventT", bound=Event)
Apply = Callable[[Transaction, EventT], Awaitable[None]]
ApplyMany = Callable[[Transaction, Sequence[EventT]], Awaitable[None]]


def consume(
    router: NatsRouter, db: Database, event: type[EventT], *, durable: str, max_in_flight: int = 1
) -> Callable[[Apply[EventT]], Apply[EventT]]:
    """Registers a function that applies one event; it never gets a repeat."""

    def register(apply: Apply[EventT]) -> Apply[EventT]:
        async def doorway(event: EventT) -> None:
            async with apply_once(db, durable, event) as tx:
                if tx:
                    await apply(tx, event)

        subscribe(router, event, durable=durable, max_in_flight=max_in_flight)(_named(doorway, apply, event))
        return apply

    return register


def consume_together(
    router: NatsRouter,
    db: Database,
    event: type[EventT],
    *,
    durable: str,
    max_in_flight: int,
    concerns: Callable[[EventT], bool] = lambda _: True,
) -> Callable[[ApplyMany[EventT]], ApplyMany[EventT]]:
    """Registers a function that applies together all events that came while its last transaction ran; it never gets a repeat.

    Events for which `concerns` returns False are skipped, and the inbox gets no row for them.
    """

    def register(apply: ApplyMany[EventT]) -> ApplyMany[EventT]:
        together = ApplyTogether(db, durable, apply)

        async def doorway(event: EventT) -> None:
            if concerns(event):
                await together(event)

        subscribe(router, event, durable=durable, max_in_flight=max_in_flight)(_named(doorway, apply, event))
        return apply

    return register


def _named(doorway: Any, apply: Any, event: type[Event]) -> Any:
    """FastStream describes a handler by its name, its docstring and its annotations (docs/asyncapi)."""
    doorway.__name__, doorway.__doc__ = apply.__name__, apply.__doc__
    doorway.__annotations__["event"] = event
    return doorway
