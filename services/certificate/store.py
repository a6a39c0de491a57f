"""All SQL of certificate. Rows of a statement are sorted and unique (DESIGN §4.10)."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from shared.contracts.campaign import RETAIN_DAYS
from shared.database import Transaction
from shared.database.columns import columns

RETENTION_DELETES_MAX = 1_000


async def one_issuer(tx: Transaction, campaign_id: str) -> None:
    """Takes the campaign's lock until the transaction ends, so that issuing and keeping names take turns. Otherwise a
    name that arrives while its certificate is being issued would be missed by both."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('certificate ' || $1, 0))", campaign_id)


# ---- facts, as the consumers hear them -------------------------------------------------------------------------------


class Completion(NamedTuple):
    """A viewer who reached the required days; unit and group as they were then."""

    viewer_id: str
    unit_code: str
    group_code: str
    credited_lessons: list[date]


async def keep_completions(tx: Transaction, campaign_id: str, completions: Sequence[Completion]) -> None:
    """Stores completions. On the evening on which most viewers finish, every check-in is a completion and nearly all have the
    same lessons, so each distinct set of lessons is sent and read once."""
    rows = sorted(completions)
    number_of_set: dict[tuple[date, ...], int] = {}
    set_numbers = [number_of_set.setdefault(tuple(row.credited_lessons), len(number_of_set) + 1) for row in rows]
    await tx.execute(
        """
        INSERT INTO completion (campaign_id, viewer_id, unit_code, group_code, credited_lessons)
        SELECT $1, viewer_id, unit_code, group_code, lessons
        FROM unnest($2::text[], $3::text[], $4::text[], $5::int[]) AS given (viewer_id, unit_code, group_code, n)
        JOIN (
            SELECT n, string_to_array(days, ',')::date[] AS lessons
            FROM unnest($6::text[]) WITH ORDINALITY AS sets (days, n) OFFSET 0
        ) AS known USING (n)
        ORDER BY viewer_id
        ON CONFLICT DO NOTHING
        """,
        campaign_id,
        [row.viewer_id for row in rows],
        [row.unit_code for row in rows],
        [row.group_code for row in rows],
        set_numbers,
        [",".join(map(date.isoformat, days)) for days in number_of_set],
    )


Field = Literal["name", "phone_tail"]


class Contact(NamedTuple):
    """One field of a viewer's contact data; `value` is encrypted, None where it may not be kept."""

    viewer_id: str
    field: Field
    enrolled_at: datetime
    enrolment_id: str
    value: bytes | None
    retain_until: datetime


class KnownContact(NamedTuple):
    """What certificate knows of a viewer, encrypted."""

    name: bytes | None = None
    phone_tail: bytes | None = None


# By how much a campaign's `retain_days` exceeds `RETAIN_DAYS`, which callers count with; 0 before its definition has arrived.
_RETAINED_LONGER = (
    f"make_interval(days => coalesce((SELECT (rules->>'retain_days')::int FROM definition WHERE campaign_id = $1), "  # noqa: S608
    f"{RETAIN_DAYS}) - {RETAIN_DAYS})"
)


async def keep_contacts(tx: Transaction, campaign_id: str, contacts: Sequence[Contact]) -> set[str]:
    """Keeps the latest value of each field; returns the viewers whose name this changed."""
    ordered = sorted(contacts, key=lambda contact: (contact.viewer_id, contact.field))
    changed = await tx.fetch(
        f"""
        INSERT INTO contact AS c (campaign_id, viewer_id, field, enrolled_at, enrolment_id, value, retain_until)
        SELECT $1, viewer_id, field, enrolled_at, enrolment_id, value, retain_until + {_RETAINED_LONGER}
        FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bytea[], $7::timestamptz[])
             AS given (viewer_id, field, enrolled_at, enrolment_id, value, retain_until)
        ON CONFLICT (campaign_id, viewer_id, field) DO UPDATE
        SET enrolled_at = excluded.enrolled_at, enrolment_id = excluded.enrolment_id, value = excluded.value,
            retain_until = excluded.retain_until
        WHERE (c.enrolled_at, c.enrolment_id) < (excluded.enrolled_at, excluded.enrolment_id)
           OR (c.enrolled_at, c.enrolment_id) = (excluded.enrolled_at, excluded.enrolment_id) AND excluded.value IS NULL
        RETURNING viewer_id, field
        """,  # noqa: S608 - constants
        campaign_id,
        *columns(ordered, len(Contact._fields)),
    )
    return {row["viewer_id"] for row in changed if row["field"] == "name"}


async def contacts(tx: Transaction, campaign_id: str, viewer_ids: Collection[str]) -> dict[str, KnownContact]:
    """What is known of these viewers; viewers of whom nothing is known are left out."""
    rows = await tx.fetch(
        "SELECT viewer_id, field, value FROM contact WHERE campaign_id = $1 AND viewer_id = ANY($2::text[]) "
        "AND value IS NOT NULL",
        campaign_id,
        sorted(viewer_ids),
    )
    fields_by_viewer: dict[str, dict[str, bytes]] = {}
    for viewer_id, field, value in rows:
        fields_by_viewer.setdefault(viewer_id, {})[field] = value
    return {viewer_id: KnownContact(**fields) for viewer_id, fields in fields_by_viewer.items()}


async def retain_for(tx: Transaction, campaign_id: str, days: int) -> None:
    """From now on the campaign's contact data is kept until `days` after the enrolment."""
    await tx.execute(
        "UPDATE contact SET retain_until = enrolled_at + make_interval(days => $2) "
        "WHERE campaign_id = $1 AND retain_until <> enrolled_at + make_interval(days => $2)",
        campaign_id,
        days,
    )


async def is_withdrawn(tx: Transaction, campaign_id: str, viewer_id: str) -> bool:
    """Whether the viewer's name may not be kept."""
    sql = "SELECT EXISTS (SELECT FROM contact WHERE campaign_id = $1 AND viewer_id = $2 AND field = 'name' AND value IS NULL)"
    return await tx.fetchval(sql, campaign_id, viewer_id) is True


async def delete_expired_contacts(tx: Transaction, now: datetime) -> int:
    """Deletes contact data whose time is over (DESIGN §4.8); certificates keep the name they were issued with."""
    return await tx.change(
        "DELETE FROM contact WHERE (campaign_id, viewer_id, field) IN "
        "(SELECT campaign_id, viewer_id, field FROM contact WHERE retain_until <= $1 LIMIT $2)",
        now,
        RETENTION_DELETES_MAX,
    )


# ---- certificates ----------------------------------------------------------------------------------------------------


class Certificate(NamedTuple):
    """A row; `name` and `claim_code` are encrypted."""

    serial: str
    campaign_id: str
    viewer_id: str
    code: str
    claim_code: bytes
    claim_code_hash: bytes
    unit_code: str
    group_code: str
    campaign_title: str
    issuer: str
    name: bytes | None
    credited_lessons: list[date]
    issued_at: datetime
    key_id: str
    signature: bytes
    corrected: bool = False  # True: the office gave the name, and no enrolment changes it any more
    claimed_at: datetime | None = None
    revoked_at: datetime | None = None
    reissued_as: str | None = None
    reissue_request: str | None = None  # the office's id of the request that this one came from


_CERTIFICATE = ", ".join(Certificate._fields)


async def to_issue(tx: Transaction, campaign_id: str, limit: int) -> list[Completion]:
    """Up to `limit` completions without certificate, marked as issued in this transaction."""
    rows = await tx.fetch(
        "UPDATE completion SET issued = true WHERE (campaign_id, viewer_id) IN ("
        "  SELECT campaign_id, viewer_id FROM completion WHERE campaign_id = $1 AND NOT issued"
        "  LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " RETURNING viewer_id, unit_code, group_code, credited_lessons",
        campaign_id,
        limit,
    )
    return [Completion(*row) for row in rows]


async def add_certificates(tx: Transaction, certificates: Sequence[Certificate]) -> None:
    await tx.copy_records("certificate", Certificate._fields, certificates)


async def by_claim_code(tx: Transaction, claim_code_hash: bytes) -> Certificate | None:
    return await _one(tx, "claim_code_hash = $1 FOR UPDATE", claim_code_hash)


async def by_serial(tx: Transaction, serial: str) -> Certificate | None:
    return await _one(tx, "serial = $1", serial)


async def by_code(tx: Transaction, code: str) -> Certificate | None:
    return await _one(tx, "code = $1", code)


async def by_reissue_request(tx: Transaction, campaign_id: str, request_id: str) -> Certificate | None:
    return await _one(tx, "campaign_id = $1 AND reissue_request = $2", campaign_id, request_id)


async def last_of(tx: Transaction, campaign_id: str, viewer_id: str, *, lock: bool = False) -> Certificate | None:
    """The viewer's newest certificate, valid or revoked: the one that no other has replaced."""
    where = "campaign_id = $1 AND viewer_id = $2 AND reissued_as IS NULL"
    return await _one(tx, where + (" FOR UPDATE" if lock else ""), campaign_id, viewer_id)


async def _one(tx: Transaction, where: str, *values: Any) -> Certificate | None:
    row = await tx.fetchrow(f"SELECT {_CERTIFICATE} FROM certificate WHERE {where}", *values)  # noqa: S608 - constants
    return None if row is None else Certificate(*row)


async def open_to_names(
    tx: Transaction, campaign_id: str, viewer_ids: Collection[str], *, also_claimed: bool = False
) -> list[Certificate]:
    """Valid certificates that nobody has claimed (unless `also_claimed`) and whose name the office has not corrected; locked."""
    rows = await tx.fetch(
        f"SELECT {_CERTIFICATE} FROM certificate WHERE campaign_id = $1 AND viewer_id = ANY($2::text[]) "  # noqa: S608
        "AND (claimed_at IS NULL OR $3) AND revoked_at IS NULL AND NOT corrected ORDER BY viewer_id FOR UPDATE",
        campaign_id,
        sorted(viewer_ids),
        also_claimed,
    )
    return [Certificate(*row) for row in rows]


async def rename(tx: Transaction, certificates: Sequence[Certificate]) -> None:
    """Stores the names and signatures of these certificates in place of their old ones."""
    rows = sorted((row.serial, row.name, row.key_id, row.signature) for row in certificates)
    await tx.execute(
        "UPDATE certificate SET name = given.name, key_id = given.key_id, signature = given.signature "
        "FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[]) AS given (serial, name, key_id, signature) "
        "WHERE certificate.serial = given.serial",
        *columns(rows, 4),
    )


async def claim(tx: Transaction, serial: str, now: datetime) -> None:
    await tx.execute("UPDATE certificate SET claimed_at = $2 WHERE serial = $1", serial, now)


async def revoke(tx: Transaction, serial: str, now: datetime, actor: str, reason: str, reissued_as: str | None) -> None:
    await tx.execute(
        "UPDATE certificate SET revoked_at = $2, revoked_by = $3, revoke_reason = $4, reissued_as = $5 WHERE serial = $1",
        serial,
        now,
        actor,
        reason,
        reissued_as,
    )


async def completed(tx: Transaction, campaign_id: str, viewer_id: str) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM completion WHERE campaign_id = $1 AND viewer_id = $2)", campaign_id, viewer_id
        )
    )


async def unknown_serials(tx: Transaction, serials: Sequence[str]) -> list[str]:
    """Those of the serials that no certificate has, neither a valid nor a revoked one."""
    rows = await tx.fetch(
        "SELECT serial FROM unnest($1::text[]) AS given (serial) "
        "WHERE (SELECT true FROM certificate WHERE certificate.serial = given.serial) IS NULL",
        serials,
    )
    return [row["serial"] for row in rows]


STATES = ("waiting", "unclaimed", "claimed", "revoked")


async def counts(tx: Transaction) -> dict[str, dict[str, int]]:
    """Counts, by campaign, viewers who wait for a certificate, and certificates by state."""
    rows = await tx.fetch(
        """
        SELECT campaign_id, 'waiting' AS state, count(*) AS n FROM completion WHERE NOT issued GROUP BY 1
        UNION ALL
        SELECT campaign_id, CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN claimed_at IS NOT NULL THEN 'claimed'
                            ELSE 'unclaimed' END, count(*)
        FROM certificate GROUP BY 1, 2
        """
    )
    by_campaign: dict[str, dict[str, int]] = {}
    for campaign_id, state, n in rows:
        by_campaign.setdefault(campaign_id, dict.fromkeys(STATES, 0))[state] = n
    return by_campaign


# ---- the keys that signed --------------------------------------------------------------------------------------------


async def keep_signing_key(tx: Transaction, key_id: str, public_key: bytes) -> bool:
    """Keeps a public key; returns whether it was new."""
    sql = "INSERT INTO signing_key (key_id, public_key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"
    return await tx.fetchval(sql, key_id, public_key) is True


async def signing_keys(tx: Transaction) -> list[bytes]:
    """The public halves of all keys that this deployment has signed with, raw."""
    return [bytes(row[0]) for row in await tx.fetch("SELECT public_key FROM signing_key ORDER BY key_id")]
