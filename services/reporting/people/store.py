"""All SQL of people. Times are wall time, because cookies expire by wall time."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.database import Transaction
from shared.service.tokens import Role


class Person(NamedTuple):
    person_id: UUID
    campaign_id: str
    name: str
    role: Role
    unit_code: str | None
    generation: int  # sessions of an earlier one are over
    passphrase: str | None  # its hash; None before an invitation is accepted, and after revoking
    invitation_until: datetime | None
    revoked_at: datetime | None


class Listed(NamedTuple):
    """A person as the office's list shows it."""

    person: Person
    sessions: int  # open ones
    seen_at: datetime | None


class SessionRow(NamedTuple):
    session: bytes  # the hash of its secret
    person_id: UUID
    generation: int
    begun_at: datetime
    seen_at: datetime
    ends_at: datetime


_PERSON = ", ".join(Person._fields)
_SESSION = ", ".join(SessionRow._fields)


async def person_named(tx: Transaction, name: str) -> Person | None:
    """The person with this name (`domain.name_as_kept`), locked."""
    row = await tx.fetchrow(f"SELECT {_PERSON} FROM person WHERE name = $1 FOR UPDATE", name)  # noqa: S608
    return None if row is None else Person(*row)


async def person(tx: Transaction, person_id: UUID) -> Person | None:
    """The person with this id, locked."""
    row = await tx.fetchrow(f"SELECT {_PERSON} FROM person WHERE person_id = $1 FOR UPDATE", person_id)  # noqa: S608
    return None if row is None else Person(*row)


async def invited_with(tx: Transaction, invitation: bytes) -> Person | None:
    """The person whose invitation's code has this hash, locked."""
    sql = f"SELECT {_PERSON} FROM person WHERE invitation = $1 FOR UPDATE"  # noqa: S608
    row = await tx.fetchrow(sql, invitation)
    return None if row is None else Person(*row)


async def keep(tx: Transaction, person: Person, invitation: bytes | None) -> None:
    """Stores a new person, or replaces a known one but for name and campaign. `invitation`: the hash of its code."""
    await tx.execute(
        """
        INSERT INTO person (person_id, campaign_id, name, role, unit_code, generation, passphrase, invitation_until, revoked_at,
                            invitation)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (person_id) DO UPDATE SET role = excluded.role, unit_code = excluded.unit_code,
            generation = excluded.generation, passphrase = excluded.passphrase, invitation = excluded.invitation,
            invitation_until = excluded.invitation_until, revoked_at = excluded.revoked_at
        """,
        *person,
        invitation,
    )


async def raise_generations(tx: Transaction, at_least: int) -> list[Person]:
    """Begins a new generation of everybody, no lower than `at_least`, and deletes all sessions; returns the people."""
    await tx.execute("DELETE FROM session")
    sql = f"UPDATE person SET generation = greatest(generation + 1, $1) RETURNING {_PERSON}"  # noqa: S608
    return [Person(*row) for row in await tx.fetch(sql, at_least)]


async def record(tx: Transaction, person: Person, what: str, actor: str, reason: str | None, now: datetime) -> None:
    """Records that `actor` changed a person; `what`: a stable slug such as `invited` or `revoked`."""
    await tx.execute(
        "INSERT INTO person_change (campaign_id, person_id, changed_at, what, actor, reason) VALUES ($1, $2, $3, $4, $5, $6)",
        person.campaign_id,
        person.person_id,
        now,
        what,
        actor,
        reason,
    )


async def people(tx: Transaction, campaign_id: str, after: str | None, limit: int) -> Sequence[Listed]:
    """Up to `limit` people of a campaign, by name, from the name that follows `after`."""
    rows = await tx.fetch(
        f"""
        SELECT {_PERSON}, open.number, open.seen_at FROM person
        LEFT JOIN LATERAL (SELECT count(*) AS number, max(seen_at) AS seen_at FROM session
                           WHERE session.person_id = person.person_id AND ends_at > now()) AS open ON true
        WHERE campaign_id = $1 AND ($2::text IS NULL OR name > $2) ORDER BY name LIMIT $3
        """,  # noqa: S608
        campaign_id,
        after,
        limit,
    )
    return [Listed(Person(*row[:-2]), *row[-2:]) for row in rows]


# ---- the second step -------------------------------------------------------------------------------------------------


class Authenticator(NamedTuple):
    secret: bytes  # encrypted
    last_step: int  # codes of these 30 seconds and of earlier ones are taken no more


async def authenticator(tx: Transaction, person_id: UUID) -> Authenticator | None:
    """The person's authenticator, locked; None where the second step is off."""
    row = await tx.fetchrow("SELECT secret, last_step FROM authenticator WHERE person_id = $1 FOR UPDATE", person_id)
    return None if row is None else Authenticator(*row)


async def keep_authenticator(
    tx: Transaction, person_id: UUID, kept: Authenticator, recovery_codes: Sequence[bytes]
) -> None:
    """Stores the authenticator and the hashes of new recovery codes, in place of what the person had before."""
    await forget_authenticator(tx, person_id)
    await tx.execute("INSERT INTO authenticator (person_id, secret, last_step) VALUES ($1, $2, $3)", person_id, *kept)
    await tx.execute("INSERT INTO recovery_code SELECT $1::uuid, unnest($2::bytea[])", person_id, recovery_codes)


async def keep_step(tx: Transaction, person_id: UUID, step: int) -> None:
    await tx.execute("UPDATE authenticator SET last_step = $2 WHERE person_id = $1", person_id, step)


async def use_recovery_code(tx: Transaction, person_id: UUID, code: bytes) -> bool:
    """Deletes the recovery code with this hash; returns whether there was one."""
    return await tx.change("DELETE FROM recovery_code WHERE person_id = $1 AND code = $2", person_id, code) == 1


async def recovery_codes_left(tx: Transaction, person_id: UUID) -> int:
    left: int = await tx.fetchval("SELECT count(*) FROM recovery_code WHERE person_id = $1", person_id)
    return left


async def forget_authenticator(tx: Transaction, person_id: UUID) -> None:
    await tx.execute("DELETE FROM recovery_code WHERE person_id = $1", person_id)
    await tx.execute("DELETE FROM authenticator WHERE person_id = $1", person_id)


# ---- sessions --------------------------------------------------------------------------------------------------------


async def begin(tx: Transaction, session: SessionRow) -> None:
    await tx.execute(f"INSERT INTO session ({_SESSION}) VALUES ($1, $2, $3, $4, $5, $6)", *session)  # noqa: S608


async def seen(tx: Transaction, session: bytes, now: datetime) -> SessionRow | None:
    """Notes that the session is in use, and returns it; None where it is over or there is no such session."""
    row = await tx.fetchrow(
        f"UPDATE session SET seen_at = $2 WHERE session = $1 AND ends_at > $2 RETURNING {_SESSION}",  # noqa: S608
        session,
        now,
    )
    return None if row is None else SessionRow(*row)


async def end(tx: Transaction, session: bytes) -> SessionRow | None:
    """Deletes the session, and returns it; None where there was none."""
    row = await tx.fetchrow(f"DELETE FROM session WHERE session = $1 RETURNING {_SESSION}", session)  # noqa: S608
    return None if row is None else SessionRow(*row)


async def end_all(tx: Transaction, person_id: UUID) -> int:
    return await tx.change("DELETE FROM session WHERE person_id = $1", person_id)


async def sessions_in_use(tx: Transaction, since: datetime) -> dict[str, int]:
    """Sessions seen later than `since`, by campaign; a campaign whose people have none has 0."""
    return dict(
        await tx.fetch(
            """
            SELECT campaign_id, count(session.session) FROM person
            LEFT JOIN session ON session.person_id = person.person_id AND seen_at > $1 AND ends_at > now()
            GROUP BY campaign_id ORDER BY campaign_id
            """,
            since,
        )
    )


async def forget_expired(tx: Transaction) -> int:
    """Deletes sessions whose time is over; returns how many."""
    return await tx.change("DELETE FROM session WHERE ends_at <= now()")
