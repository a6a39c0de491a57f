"""Enrolments: every one that came, what each says, and which of them name a unit."""

from collections.abc import Collection, Iterable
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from services.checkin.minors import Past
from services.checkin.sorting import Enrolment, Key
from shared.database import Transaction
from shared.database.columns import columns


async def add_enrolments(tx: Transaction, campaign_no: int, enrolments: Iterable[Enrolment]) -> set[Key]:
    """Stores enrolment events; returns the (viewer_id, enrolment_id) of those that were new by id and by what they say."""
    rows = sorted(enrolments, key=itemgetter(0, -1, 1))
    new = await tx.fetch(
        """
        INSERT INTO enrolment (campaign_no, viewer_id, enrolment_id, enrolled_at, unit_code, group_code, channel, received_at,
                               guardian_consent, has_contact, said)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
                                 $9::bool[], $10::bool[], $11::bytea[])
        ON CONFLICT DO NOTHING RETURNING viewer_id, enrolment_id
        """,
        campaign_no,
        *columns(rows, len(Enrolment._fields)),
    )
    return {(row[0], row[1]) for row in new}


async def replaced_enrolments(
    tx: Transaction, campaign_no: int, sent: Collection[tuple[str, bytes]]
) -> set[tuple[str, bytes]]:
    """Which of these enrolments (viewer, digest) are stored, and older than their viewer's latest enrolment."""
    rows = await tx.fetch(
        """
        SELECT viewer_id, said FROM unnest($2::text[], $3::bytea[]) AS sent (viewer_id, said)
        JOIN enrolment USING (viewer_id, said) JOIN viewer USING (campaign_no, viewer_id)
        WHERE campaign_no = $1 AND (enrolment.enrolled_at, enrolment.enrolment_id) < (viewer.enrolled_at, viewer.enrolment_id)
        """,
        campaign_no,
        *columns(sorted(sent), 2),
    )
    return {(row[0], row[1]) for row in rows}


async def enrolments_of(tx: Transaction, campaign_no: int, viewer_ids: Collection[str]) -> list[Past]:
    rows = await tx.fetch(
        "SELECT viewer_id, enrolled_at, enrolment_id, unit_code, group_code, guardian_consent, has_contact FROM enrolment "
        "WHERE campaign_no = $1 AND viewer_id = ANY($2::text[])",
        campaign_no,
        sorted(viewer_ids),
    )
    return [Past(*row) for row in rows]


async def forget_contacts(tx: Transaction, campaign_no: int, enrolments: Iterable[Key]) -> None:
    """Records that nobody keeps the names and phones of these enrolments any more."""
    await tx.execute(
        "UPDATE enrolment SET has_contact = false FROM unnest($2::text[], $3::text[]) AS given (viewer_id, enrolment_id) "
        "WHERE campaign_no = $1 AND enrolment.viewer_id = given.viewer_id AND enrolment.enrolment_id = given.enrolment_id",
        campaign_no,
        *columns(sorted(enrolments), 2),
    )


async def to_withdraw(tx: Transaction, campaign_no: int, minors: Collection[str], after: str, limit: int) -> list[str]:
    """Viewers, by id, who were ever enrolled in one of these groups and whose name or phone others may have without a guardian's
    consent; the page after `after`."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT viewer_id FROM enrolment AS minor
        WHERE campaign_no = $1 AND viewer_id > $2 COLLATE "C" AND group_code = ANY($3::text[]) AND EXISTS (
            SELECT FROM enrolment AS told WHERE told.campaign_no = $1 AND told.viewer_id = minor.viewer_id
            AND told.has_contact AND NOT told.guardian_consent)
        ORDER BY viewer_id LIMIT $4
        """,
        campaign_no,
        after,
        sorted(minors),
        limit,
    )
    return [row[0] for row in rows]


class Resolvable(NamedTuple):
    """A viewer who may have no unit, the last of their channels that is known now, and the enrolment that named it."""

    viewer_id: str
    channel: str
    enrolled_at: datetime
    enrolment_id: str


async def resolvable(
    tx: Transaction, campaign_no: int, channels: Collection[str], after: str, limit: int
) -> list[Resolvable]:
    """Viewers with an enrolment whose channel was unknown when it came and is now one of `channels`, sorted by id; the page
    after `after`. Includes viewers who have got a unit in another way since."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (viewer_id) viewer_id, channel, enrolled_at, enrolment_id FROM enrolment
        WHERE campaign_no = $1 AND viewer_id > $2 COLLATE "C" AND unit_code = 'unassigned' AND channel = ANY($3::text[])
        ORDER BY viewer_id, enrolled_at DESC, enrolment_id DESC LIMIT $4
        """,
        campaign_no,
        after,
        list(channels),
        limit,
    )
    return [Resolvable(*row) for row in rows]
