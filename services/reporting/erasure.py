"""Forgets what reporting keeps of people: an account is renamed, a liaison's mask goes, and every sum stays."""

# ruff: noqa: S608 - SQL is put together of constants

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from shared.bus import outbox
from shared.contracts.base import ROWS_MAX
from shared.contracts.reporting import LiaisonNamedV1, PersonChangedV1
from shared.database import Transaction
from shared.ids import new_event_id
from shared.people import erasure, sessions
from shared.people.erasure import NewName, event_name_sql
from shared.people.forgetting import Counts, ServiceErasure

# $1 campaign, $2 account, $3 its new name, $4 the key that names its events.
RENAME_HOLDER = "UPDATE certificate_holder SET viewer_id = $3 WHERE campaign_id = $1 AND viewer_id = $2"
RENAME_MOVE = (
    f"UPDATE viewer_move SET viewer_id = $3, enrolment_id = {event_name_sql('enrolment_id')}, "
    f"group_enrolment_id = {event_name_sql('group_enrolment_id')} "
    "WHERE campaign_id = $1 AND viewer_id = $2"
)
FORGET_MASKS = (
    "UPDATE liaison SET posts = NULL, revision = revision + 1, reason = NULL "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR unit_code = $2) AND posts IS NOT NULL RETURNING unit_code, revision"
)
FORGET_OF_UNIT = "DELETE FROM {table} WHERE campaign_id = $1 AND ($2::text IS NULL OR unit_code = $2)"
FORGET_REASONS = (
    "UPDATE liaison_change SET reason = NULL "
    "WHERE campaign_id = $1 AND ($2::text IS NULL OR unit_code = $2) AND reason IS NOT NULL"
)
PEOPLE = "SELECT person_id, generation FROM person WHERE campaign_id = $1 ORDER BY person_id FOR UPDATE"
PERSON_NAMED = "SELECT person_id FROM person WHERE campaign_id = $1 AND name = $2"
PERSON_IN_FORCE = "SELECT campaign_id, generation FROM person WHERE person_id = $1 FOR UPDATE"
OF_PEOPLE = "WHERE person_id IN (SELECT person_id FROM person WHERE campaign_id = $1)"
FORGET_OF_PEOPLE = {
    table: f"DELETE FROM {table} {OF_PEOPLE}" for table in ("session", "authenticator", "recovery_code")
}
FORGET_OF_PERSON = {
    table: f"DELETE FROM {table} WHERE person_id = $1"
    for table in ("session", "authenticator", "recovery_code", "person")
}
FORGET_PEOPLE = "DELETE FROM person WHERE campaign_id = $1"
FORGET_CHANGES = "DELETE FROM person_change WHERE campaign_id = $1"
FORGET_PICTURES = "DELETE FROM picture WHERE campaign_id = $1"
# What people wrote about reports, which may name somebody.
FORGET_WORDS = {
    "finding_change": "UPDATE finding_change SET said = '' WHERE campaign_id = $1 AND said <> ''",
    "obligation": "UPDATE obligation SET return_reason = NULL, excuse_reason = NULL "
    "WHERE campaign_id = $1 AND (return_reason IS NOT NULL OR excuse_reason IS NOT NULL)",
    "obligation_change": "UPDATE obligation_change SET reason = NULL WHERE campaign_id = $1 AND reason IS NOT NULL",
    "report": "UPDATE report SET reason = NULL WHERE campaign_id = $1 AND reason IS NOT NULL",
}


class Erasure(ServiceErasure):
    KNOWN_KEYS = ("notification",)
    ACTORS: ClassVar = {
        "report": "actor",
        "obligation_change": "actor",
        "finding_change": "actor",
        "person_change": "actor",
        "liaison": "actor",
        "liaison_change": "actor",
    }

    async def forget_viewer(self, tx: Transaction, campaign_id: str, viewer_id: str, name: NewName) -> Counts:
        return {
            "certificate_holder": await tx.change(RENAME_HOLDER, campaign_id, viewer_id, name.account),
            "viewer_move": await tx.change(RENAME_MOVE, campaign_id, viewer_id, *name),
            "ledger": await erasure.forget_in_ledger(tx, campaign_id, viewer_id, name),
        }

    async def forget_people(self, tx: Transaction, campaign_id: str) -> Counts:
        """The office's people of the campaign go, and are signed out everywhere; so do the pictures of its reports, which show
        people, and what the office wrote about reports. Viewers reporting knows neither by name nor by phone."""
        await _sign_out_all(tx, campaign_id)
        return await _forget_liaisons(tx, campaign_id, None) | {
            **{table: await tx.change(sql, campaign_id) for table, sql in FORGET_OF_PEOPLE.items()},
            "person": await tx.change(FORGET_PEOPLE, campaign_id),
            "person_change": await tx.change(FORGET_CHANGES, campaign_id),
            "picture": await tx.change(FORGET_PICTURES, campaign_id),
            **{table: await tx.change(sql, campaign_id) for table, sql in FORGET_WORDS.items()},
            "ledger": await erasure.forget_sealed_in_ledger(tx, campaign_id),
        }

    async def forget_actor(self, tx: Transaction, name: str, person_id: UUID) -> Counts:
        """The person goes, signed out everywhere; what was recorded about them keeps their id."""
        renamed = await super().forget_actor(tx, name, person_id)
        for campaign_id, generation in await tx.fetch(PERSON_IN_FORCE, person_id):
            await _sign_out(tx, campaign_id, person_id, generation)
        return renamed | {table: await tx.change(sql, person_id) for table, sql in FORGET_OF_PERSON.items()}

    async def forget_liaison(self, tx: Transaction, campaign_id: str, unit_code: str) -> Counts:
        counts = await _forget_liaisons(tx, campaign_id, unit_code)
        return counts | {"ledger": await erasure.forget_unit_in_ledger(tx, campaign_id, unit_code)}


async def person_named(tx: Transaction, campaign_id: str, name: str) -> UUID | None:
    """The id of the person of this campaign with this name."""
    person_id: UUID | None = await tx.fetchval(PERSON_NAMED, campaign_id, name)
    return person_id


async def _forget_liaisons(tx: Transaction, campaign_id: str, unit_code: str | None) -> Counts:
    """Forgets the masks of a unit's people, or of all units, and the reasons written about them; their codes and phones
    are void. The event that they are gone reaches notification after any earlier one that is still under way."""
    forgotten = await tx.fetch(FORGET_MASKS, campaign_id, unit_code)
    for rows in _in_pages(sorted(forgotten, key=lambda row: str(row["unit_code"]))):
        event = LiaisonNamedV1(
            event_id=new_event_id(),
            occurred_at=datetime.now(UTC),
            campaign_id=campaign_id,
            unit_codes=[row["unit_code"] for row in rows],
            revisions=[row["revision"] for row in rows],
        )
        await outbox.add(tx, event)
    return {
        "liaison": len(forgotten),
        "liaison_change": await tx.change(FORGET_REASONS, campaign_id, unit_code),
        **{
            table: await tx.change(FORGET_OF_UNIT.format(table=table), campaign_id, unit_code)
            for table in ("liaison_code", "device")
        },
    }


def _in_pages(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), ROWS_MAX):
        yield rows[start : start + ROWS_MAX]


async def _sign_out_all(tx: Transaction, campaign_id: str) -> None:
    for person_id, generation in await tx.fetch(PEOPLE, campaign_id):
        await _sign_out(tx, campaign_id, person_id, generation)


async def _sign_out(tx: Transaction, campaign_id: str, person_id: UUID, generation: int) -> None:
    await sessions.keep_generation(tx, person_id, generation + 1)
    event = PersonChangedV1(
        event_id=new_event_id(),
        occurred_at=datetime.now(UTC),
        campaign_id=campaign_id,
        person_id=person_id,
        generation=generation + 1,
    )
    await outbox.add(tx, event)
