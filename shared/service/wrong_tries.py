"""Limits wrong tries, such as of a passphrase or a claim code: by what is tried and by address, counted in the database for all
replicas.

A try of a passphrase is counted before it is looked at, since comparing takes long, and taken back when it was right: any number
of tries at once are no more than the limit allows, and many people who share an address do not use up each other's. A try that is
looked at in one transaction is counted when it was wrong. Times are the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.database import Transaction
from shared.service.refusals import Refused


@dataclass(frozen=True, order=True)
class Limit:
    """`who` is a keyed hash: the table tells neither names nor addresses."""

    who: bytes
    most: int
    within: timedelta
    refusal: str  # the refusal's name

    def refused(self) -> Refused:
        return Refused(self.refusal, retry_after_s=int(self.within.total_seconds()))


Tries = Sequence[tuple[Limit, datetime]]
"""What was counted for one try, to be taken back."""

_RECENT = "ARRAY(SELECT t FROM unnest(w.tried_at) AS t WHERE t > now() - $2::interval)"


async def count(tx: Transaction, limits: Sequence[Limit]) -> Tries:
    """Counts a try. Raises `Refused` where a limit is reached; nothing is counted then, since the caller rolls back."""
    return [(limit, await _count(tx, limit)) for limit in sorted(limits)]


async def _count(tx: Transaction, limit: Limit) -> datetime:
    counted = await tx.fetchval(
        f"""
        INSERT INTO wrong_try AS w (who, tried_at, expires_at) VALUES ($1, ARRAY[now()], now() + $2::interval)
        ON CONFLICT (who) DO UPDATE SET tried_at = {_RECENT} || now(), expires_at = excluded.expires_at
        WHERE cardinality({_RECENT}) < $3
        RETURNING now()
        """,  # noqa: S608 - a constant
        limit.who,
        limit.within,
        limit.most,
    )
    if counted is None:
        raise limit.refused()
    moment: datetime = counted
    return moment


async def check(tx: Transaction, limits: Sequence[Limit]) -> None:
    """Raises `Refused` where a limit is reached; counts nothing. Waits for transactions that are counting a try."""
    for limit in sorted(limits):
        sql = f"SELECT cardinality({_RECENT}) >= $3 FROM wrong_try AS w WHERE who = $1 FOR SHARE"  # noqa: S608 - a constant
        if await tx.fetchval(sql, limit.who, limit.within, limit.most):
            raise limit.refused()


async def seconds_to_wait(tx: Transaction, limit: Limit) -> int:
    """Of a limit that is reached: until its oldest try does not count any more."""
    oldest = "SELECT min(t) FROM wrong_try, unnest(tried_at) AS t WHERE who = $1 AND t > now() - $2::interval"
    seconds = await tx.fetchval(
        f"SELECT ceil(extract(epoch FROM ({oldest}) + $2::interval - now()))::int",  # noqa: S608 - a constant
        limit.who,
        limit.within,
    )
    return max(1, seconds or 1)


async def take_back(tx: Transaction, tries: Tries) -> None:
    """The try was right."""
    for limit, moment in tries:
        await tx.execute("UPDATE wrong_try SET tried_at = array_remove(tried_at, $2) WHERE who = $1", limit.who, moment)


async def forget_expired(tx: Transaction) -> int:
    """Deletes the tries that no longer count; returns how many rows."""
    return await tx.change("DELETE FROM wrong_try WHERE expires_at <= now()")
