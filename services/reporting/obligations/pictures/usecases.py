"""Takes pictures in, hands them out, says which were seen before, and forgets them. The caller opens the transaction, but for
`Intake.take`: a picture is decoded between two of them."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from services.reporting.definition import Definition
from services.reporting.obligations.pictures import domain, store
from services.reporting.obligations.pictures.domain import Resemblance
from services.reporting.obligations.pictures.processes import Reencoder
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.ids import new_event_id
from shared.service.refusals import Refused

FORGOTTEN_AT_ONCE_MAX = 200  # of 0.4 MiB each


class Intake:
    """How a unit's pictures come in, by whatever door. `campaign_max_bytes`: how much all pictures of one campaign may have."""

    def __init__(self, db: Database, definitions: Definitions[Definition], campaign_max_bytes: int) -> None:
        self._db = db
        self._definitions = definitions
        self._campaign_max_bytes = campaign_max_bytes
        self._reencoder = Reencoder()

    async def take(self, campaign_id: str, unit_code: str, upload: bytes, now: datetime) -> UUID:
        """Keeps an uploaded picture for a unit and returns its id; the same bytes again for the unit have the same id. The
        caller has made sure that the sender acts for the unit.

        Refused: `no-such-campaign`, `no-such-unit`, `picture-missing`, `picture-too-large`, `picture-kind`,
        `picture-unreadable`, `picture-too-complex`, `pictures-busy`, `unit-pictures-full`, `campaign-pictures-full`. Two
        pictures that are decoded at the same time by two replicas may exceed a quota by one of them."""
        if not upload:
            raise Refused("picture-missing")
        if len(upload) > domain.UPLOAD_MAX_BYTES:
            raise Refused("picture-too-large")
        sha256 = hashlib.sha256(upload).digest()
        unused_until = domain.unused_until(now)

        async def known_as(tx: Transaction) -> UUID | None:
            definition = await self._definitions.in_force(tx, campaign_id)
            if definition is None:
                raise Refused("no-such-campaign")
            if unit_code not in definition.tree:
                raise Refused("no-such-unit", subject=unit_code)
            known_id = await store.id_of(tx, campaign_id, unit_code, sha256, unused_until)
            if known_id is None:
                volume = await store.volume(tx, campaign_id, unit_code)
                if refusal := domain.full(*volume, self._campaign_max_bytes):
                    raise Refused(refusal)
            return known_id

        known_id = await self._db.in_transaction(known_as)
        if known_id is not None:
            return known_id
        picture = await self._reencoder.reencoded(upload)

        async def keep(tx: Transaction) -> UUID:
            picture_id = new_event_id()
            if await store.keep(tx, picture_id, campaign_id, unit_code, sha256, picture, now, unused_until):
                return picture_id
            kept_id = await store.id_of(tx, campaign_id, unit_code, sha256, unused_until)
            assert kept_id is not None  # noqa: S101 - it was in the way a moment ago
            return kept_id

        return await self._db.in_transaction(keep)


async def jpeg(
    tx: Transaction, campaign_id: str, unit_code: str, picture_id: UUID, *, thumbnail: bool = False
) -> bytes:
    """A picture of the unit. Refused as `no-such-picture` where it has none of this id, or no longer."""
    content = await store.jpeg(tx, campaign_id, unit_code, picture_id, thumbnail=thumbnail)
    if content is None:
        raise Refused("no-such-picture")
    return content


def is_id(text: str) -> bool:
    """Whether a text is an id as `Intake.take` makes them, written as it is answered."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


async def known_pictures(
    tx: Transaction, campaign_id: str, unit_code: str, picture_ids: Collection[UUID], now: datetime
) -> frozenset[UUID]:
    """Those of the ids that are pictures of the unit, which nothing deletes until the transaction ends; for the check of a
    report before it is kept."""
    return await store.known(tx, campaign_id, unit_code, picture_ids, now)


async def use_in_report(
    tx: Transaction,
    definitions: Definitions[Definition],
    campaign_id: str,
    unit_code: str,
    picture_ids: Collection[UUID],
    now: datetime,
) -> frozenset[UUID]:
    """Keeps these pictures for as long as reports keep theirs, and returns those that the unit has. Called in the transaction
    that stores the report, which must not name any other."""
    if not picture_ids:
        return frozenset()
    definition = await definitions.in_force(tx, campaign_id)
    retain_until = domain.used_until(now, None if definition is None else definition.rules)
    return await store.mark_used(tx, campaign_id, unit_code, picture_ids, now, retain_until)


async def same_pictures(tx: Transaction, campaign_id: str, picture_ids: Collection[UUID]) -> list[Resemblance]:
    """Pictures of the campaign, of any unit, that came before one of these and are the same or nearly the same. A unit's own
    are among them: several pictures of one minute resemble each other."""
    return await store.resemblances(tx, campaign_id, picture_ids, domain.NEAR_BITS_MAX)


async def forget_expired(tx: Transaction, now: datetime) -> int:
    """Deletes a portion of the pictures whose time is over: unused ones after 7 days, used ones when the campaign's data are."""
    return await store.forget_expired(tx, now, FORGOTTEN_AT_ONCE_MAX)


async def volumes(tx: Transaction, definitions: Definitions[Definition]) -> dict[str, int]:
    """Campaign → bytes of its pictures, 0 included."""
    return dict.fromkeys(await definitions.all(tx), 0) | await store.volumes(tx)
