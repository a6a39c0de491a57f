"""Campaign definitions in a consumer's database: pages come in any order, the highest complete revision is in force."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from shared.contracts.campaign import CampaignRules, Unit, read_rules, read_unit
from shared.contracts.checkin import CampaignDefinedV1
from shared.database import Transaction
from shared.failures import Poison

T = TypeVar("T")


class InForce(NamedTuple):
    """The revision of a campaign's definition that is in force, as a consumer reads it."""

    revision: int
    rules: CampaignRules
    units: Sequence[Unit]  # in administrative order; empty where the service reads no units


class Definitions(Generic[T]):
    """A service's only way to the definitions in force.

    `prepare` turns a definition into what the service works with, once per revision (20,000 units take 0.3 s). All callers share
    the result, so they must not change it.
    """

    def __init__(self, prepare: Callable[[InForce], T], *, with_units: bool = False) -> None:
        self._prepare = prepare
        self._with_units = with_units
        self._prepared: dict[str, tuple[int, T]] = {}  # campaign → its revision, and the result of `prepare`

    async def keep(self, tx: Transaction, event: CampaignDefinedV1) -> bool:
        """Stores one page; puts its revision in force when that is now complete and newer. True if it did.

        Raises `Poison` where this service could not read the page: every later question would fail.
        """
        try:
            read_rules(event.rules)
            if self._with_units:
                for unit in event.units:
                    read_unit(unit)
        except ValidationError as error:
            raise Poison(_unreadable(error)) from None
        return await _keep(tx, event)

    async def in_force(self, tx: Transaction, campaign_id: str) -> T | None:
        """The result of `prepare` for the campaign's definition, or None before it has arrived."""
        return (await self.of(tx, [campaign_id])).get(campaign_id)

    async def of(self, tx: Transaction, campaign_ids: Collection[str]) -> dict[str, T]:
        """Results of `prepare` for those of the campaigns whose definition has arrived."""
        return await self._current(tx, await _revisions(tx, list(campaign_ids)))

    async def all(self, tx: Transaction) -> dict[str, T]:
        """Results of `prepare` for every campaign, sorted by campaign."""
        return await self._current(tx, await _revisions(tx, None))

    async def _current(self, tx: Transaction, revisions: dict[str, int]) -> dict[str, T]:
        current = {
            campaign_id: prepared
            for campaign_id, revision in revisions.items()
            if (prepared := self._prepared.get(campaign_id)) and prepared[0] == revision
        }
        if changed := [campaign_id for campaign_id in revisions if campaign_id not in current]:
            read = await _read(tx, changed, self._with_units)  # meanwhile another transaction may do the same
            new = {
                campaign_id: (definition.revision, self._prepare(definition))
                for campaign_id, definition in read.items()
            }
            self._prepared |= new
            current |= new
        return {campaign_id: current[campaign_id][1] for campaign_id in revisions if campaign_id in current}


async def is_defined(tx: Transaction, campaign_id: str) -> bool:
    """Whether a definition of the campaign has arrived."""
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM definition WHERE campaign_id = $1)", campaign_id))


async def is_within(tx: Transaction, campaign_id: str, unit_code: str, root: str) -> bool:
    """Whether the unit is `root` or lies below it in the campaign's tree. For services that do not hold the tree."""
    return bool(
        await tx.fetchval(
            """
            WITH RECURSIVE upwards AS (
                SELECT unit_code, parent_code FROM unit JOIN definition USING (campaign_id, revision)
                WHERE campaign_id = $1 AND unit_code = $2
                UNION
                SELECT unit.unit_code, unit.parent_code FROM unit JOIN definition USING (campaign_id, revision)
                JOIN upwards ON unit.unit_code = upwards.parent_code WHERE campaign_id = $1)
            SELECT EXISTS (SELECT FROM upwards WHERE unit_code = $3)
            """,
            campaign_id,
            unit_code,
            root,
        )
    )


def _unreadable(error: ValidationError) -> str:
    """Says where the page cannot be read. Quotes no value of it, because people are shown the reason."""
    at = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
    return f"definition cannot be read: {error.error_count()} faults, first {at}; is this service older than checkin?"


# ---- SQL -------------------------------------------------------------------------------------------------------------


async def _revisions(tx: Transaction, campaign_ids: list[str] | None) -> dict[str, int]:
    """Campaign → revision in force, sorted; None: of every campaign."""
    rows = await tx.fetch(
        "SELECT campaign_id, revision FROM definition WHERE $1::text[] IS NULL OR campaign_id = ANY ($1) ORDER BY 1",
        campaign_ids,
    )
    return {row["campaign_id"]: row["revision"] for row in rows}


async def _read(tx: Transaction, campaign_ids: list[str], with_units: bool) -> dict[str, InForce]:
    rows = await tx.fetch(
        """
        SELECT campaign_id, revision, rules, ARRAY(
            SELECT unit FROM unit
            WHERE $2 AND unit.campaign_id = definition.campaign_id AND unit.revision = definition.revision
            ORDER BY position) AS units
        FROM definition WHERE campaign_id = ANY ($1)
        """,
        campaign_ids,
        with_units,
    )
    return {
        row["campaign_id"]: InForce(
            row["revision"],
            read_rules(json.loads(row["rules"])),
            [read_unit(json.loads(unit)) for unit in row["units"]],
        )
        for row in rows
    }


async def _keep(tx: Transaction, event: CampaignDefinedV1) -> bool:
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('definition ' || $1, 0))", event.campaign_id)
    current = await tx.fetchval("SELECT revision FROM definition WHERE campaign_id = $1", event.campaign_id)
    if current is not None and current >= event.revision:
        return False
    await _store_page(tx, event)
    stored = await tx.fetchval(
        "SELECT count(*) FROM definition_page WHERE campaign_id = $1 AND revision = $2",
        event.campaign_id,
        event.revision,
    )
    if stored < event.pages:
        return False
    await _put_in_force(tx, event)
    return True


async def _store_page(tx: Transaction, event: CampaignDefinedV1) -> None:
    await tx.execute(
        "INSERT INTO definition_page (campaign_id, revision, page, pages, rules) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT DO NOTHING",
        event.campaign_id,
        event.revision,
        event.page,
        event.pages,
        json.dumps(event.rules, ensure_ascii=False),
    )
    first = (event.page - 1) * 500
    await tx.execute(
        """
        INSERT INTO unit (campaign_id, revision, unit_code, parent_code, position, unit)
        SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::int[], $6::jsonb[]) ON CONFLICT DO NOTHING
        """,
        event.campaign_id,
        event.revision,
        [unit["unit_code"] for unit in event.units],
        [unit.get("parent_code") for unit in event.units],
        list(range(first, first + len(event.units))),
        [json.dumps(unit, ensure_ascii=False) for unit in event.units],
    )


async def _put_in_force(tx: Transaction, event: CampaignDefinedV1) -> None:
    await tx.execute(
        "INSERT INTO definition (campaign_id, revision, rules) VALUES ($1, $2, $3) "
        "ON CONFLICT (campaign_id) DO UPDATE SET revision = excluded.revision, rules = excluded.rules",
        event.campaign_id,
        event.revision,
        json.dumps(event.rules, ensure_ascii=False),
    )
    for table in ("definition_page", "unit"):
        await tx.execute(
            f"DELETE FROM {table} WHERE campaign_id = $1 AND revision < $2",  # noqa: S608 - names from the line above
            event.campaign_id,
            event.revision,
        )
