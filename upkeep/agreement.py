"""Do the services agree on what has happened? Compares what each derived from events with the service that owns the fact.

Every fact that a service answers for is in its ledger. Only what goes beyond the ledgers is damage: an event that was applied
somewhere and that no ledger has, a sum above what checkin has counted, a text for a certificate that does not exist. A service
that is behind is not damaged. So the service that derives is read before the one that owns the fact, and nothing that happens in
between looks like damage.

The inboxes are read instead of the stream: every subject has a durable whose inbox remembers all of its events, and an event that
was not applied yet has done no damage. The stream would cost up to 256 KiB an event, and it keeps events for 60 days only.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple
from uuid import UUID

import services.certificate.agreement
import services.checkin.agreement
import services.notification.agreement
import services.reporting.agreement
from services.notification.agreement import Text
from shared.bus import inbox, outbox
from shared.bus.topology import DURABLES, SERVICES, Durable
from shared.database import Limits, Transaction
from upkeep import dump
from upkeep.deployment import Deployment

PAGE_ROWS = 20_000  # in memory at a time; a million events took 16 s on a busy machine, 3 s of them ours

Databases = Mapping[str, Transaction]
Fact = tuple[str, str, str]  # campaign_id, lesson_date, kind


class Unfounded(NamedTuple):
    """Events that a durable has applied and that their owner's ledger does not have."""

    durable: Durable
    event_ids: list[UUID]  # of one page

    @property
    def owner(self) -> str:
        return owner_of(self.durable)


def owner_of(durable: Durable) -> str:
    """The service that owns the durable's event: `events.OWNER.…`."""
    return durable.subject.split(".")[1]


@asynccontextmanager
async def opened(deployment: Deployment, limits: Limits = dump.LOOKING) -> AsyncIterator[Databases]:
    """Opens all four databases; each statement is a transaction of its own."""
    async with AsyncExitStack() as stack:
        databases = {}
        for service in SERVICES:
            connection = await dump.connect(deployment.databases[service], limits)
            stack.push_async_callback(connection.close)
            databases[service] = Transaction(connection)
        yield databases


async def unfounded_events(databases: Databases) -> AsyncIterator[Unfounded]:
    """Yields unfounded events in pages; durables without any are left out."""
    for durable in DURABLES:
        if durable.stream != "EVENTS":
            continue  # reads the live platform's events, which are in no ledger
        after: UUID | None = None
        while page := await inbox.applied(databases[durable.service], durable.name, after, PAGE_ROWS):
            if unknown := await outbox.unknown(databases[owner_of(durable)], page):
                yield Unfounded(durable, unknown)
            after = page[-1]


async def surplus(databases: Databases) -> dict[Fact, int]:
    """By how much reporting's sums exceed the facts that checkin has recorded."""
    summed = await services.reporting.agreement.facts_by_lesson(databases["reporting"])
    taken = await services.checkin.agreement.facts_by_lesson(databases["checkin"])
    return {fact: more for fact, n in summed.items() if (more := n - taken.get(fact, 0)) > 0}


async def unfounded_texts(databases: Databases) -> AsyncIterator[list[Text]]:
    """Yields, in pages, the texts for certificates that do not exist, whether sent already or still to be sent."""
    after: Text | None = None
    while page := await services.notification.agreement.texts(databases["notification"], after, PAGE_ROWS):
        serials = [text.serial for text in page]
        unknown = set(await services.certificate.agreement.unknown_serials(databases["certificate"], serials))
        if unfounded := [text for text in page if text.serial in unknown]:
            yield unfounded
        after = page[-1]
