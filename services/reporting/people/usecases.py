"""What happens to the office's people; the caller opens the transaction. `now` is wall time.

Whatever changes what a person may do begins a new generation: it ends all sessions here at once and, by event, in the other
services within seconds.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.reporting.people import domain, store
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.store import Listed, Person, SessionRow
from shared.bus import outbox
from shared.contracts.reporting import PersonChangedV1, SessionEndedV1
from shared.database import Transaction
from shared.ids import new_event_id
from shared.people import sessions
from shared.service import wrong_tries
from shared.service.refusals import Refused
from shared.service.sessions import LONGEST, Session, new_secret
from shared.service.tokens import Principal, Role
from shared.service.wrong_tries import Limit, Tries

TRIES_WITHIN = timedelta(minutes=15)
BY_NAME_MAX = 10
BY_ADDRESS_MAX = 60  # an office shares an address


@dataclass(frozen=True)
class Invited:
    person: Person
    code: str  # shown once


# ---- who may sign in -------------------------------------------------------------------------------------------------


async def invite(
    tx: Transaction,
    keys: PeopleKeys,
    *,
    campaign_id: str,
    name: str,
    role: Role,
    unit: str | None,
    again: bool,
    actor: str,
    now: datetime,
) -> Invited:
    """Invites somebody new; or, `again`, somebody known: with this role and unit from now on, and a new passphrase.

    The same name is the same person, so what was recorded of it stays one person's. Raises `Refused`."""
    kept = domain.name_as_kept(name)
    if kept is None:
        raise Refused("name-unusable", f"姓名或岗位，最多 {domain.NAME_MAX_CHARS} 个字符")
    known = await store.person_named(tx, kept)
    if known is not None and known.campaign_id != campaign_id:
        raise Refused("name-of-other-campaign", "每人一个名字，全系统不重复：请加上单位或年份，例如“王芳（忻府）”")
    if known is not None and not again:
        raise Refused("already-invited", "忘了口令、换了角色或单位：再次邀请，fanzha person invite --again")
    generation = 1 if known is None else known.generation + 1
    code = domain.new_code(secrets.randbelow)
    person = Person(
        uuid4() if known is None else known.person_id,
        campaign_id,
        kept,
        role,
        unit,
        generation,
        passphrase=None,
        invitation_until=now + domain.INVITATION_VALID_FOR,
        revoked_at=None,
    )
    await store.keep(tx, person, keys.hash_of("invitation", domain.code_as_kept(code) or ""))
    await store.record(tx, person, "invited", actor, None, now)
    await _tell_changed(tx, person, now)
    return Invited(person, code)


async def revoke(
    tx: Transaction, campaign_id: str, person_id: UUID, *, actor: str, reason: str, now: datetime
) -> Person:
    """From now on this person cannot sign in, and is signed out everywhere. Raises `Refused`."""
    known = await store.person(tx, person_id)
    if known is None or known.campaign_id != campaign_id:
        raise Refused("no-such-person")
    person = known._replace(
        generation=known.generation + 1, passphrase=None, invitation_until=None, revoked_at=known.revoked_at or now
    )
    await store.keep(tx, person, None)
    await store.record(tx, person, "revoked", actor, reason, now)
    await _tell_changed(tx, person, now)
    return person


async def people(tx: Transaction, campaign_id: str, after: str | None, limit: int) -> Sequence[Listed]:
    return await store.people(tx, campaign_id, after, limit)


async def _tell_changed(tx: Transaction, person: Person, now: datetime) -> None:
    await store.end_all(tx, person.person_id)
    await sessions.keep_generation(tx, person.person_id, person.generation)
    await outbox.add(
        tx,
        PersonChangedV1(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=person.campaign_id,
            person_id=person.person_id,
            generation=person.generation,
        ),
    )


# ---- signing in ------------------------------------------------------------------------------------------------------


async def count_try(tx: Transaction, keys: PeopleKeys, address: str, name: str | None) -> Tries:
    """Counts a try to sign in, or with an invitation (without a name). Raises `Refused` beyond the limits."""
    limits = [Limit(keys.hash_of("address", address), BY_ADDRESS_MAX, TRIES_WITHIN, "address-tried-too-often")]
    if name is not None:
        limits.append(Limit(keys.hash_of("name", name), BY_NAME_MAX, TRIES_WITHIN, "name-tried-too-often"))
    return await wrong_tries.count(tx, limits)


async def person_to_sign_in(tx: Transaction, name: str) -> Person | None:
    """None also for somebody revoked, or who has not accepted the invitation."""
    found = await store.person_named(tx, name)
    return found if found is not None and found.passphrase is not None else None


async def sign_in(tx: Transaction, person: Person, tries: Tries, former: Session | None, now: datetime) -> Session:
    """A new session for somebody whose passphrase was right. `former`, the session this browser had, ends: nobody can have
    brought it along. Raises `Refused` where the person was changed while the passphrase was compared."""
    if await store.person(tx, person.person_id) != person:
        raise Refused("wrong-name-or-passphrase")
    await wrong_tries.take_back(tx, tries)
    if former is not None:
        await sign_out(tx, former, now)
    return await _begin(tx, person, now)


async def invited(tx: Transaction, keys: PeopleKeys, code: str, now: datetime) -> Person | None:
    """Whom this code invites; None for a wrong, used or expired one."""
    symbols = domain.code_as_kept(code)
    found = None if symbols is None else await store.invited_with(tx, keys.hash_of("invitation", symbols))
    if found is None or not domain.is_invited(found.invitation_until, found.revoked_at, now):
        return None
    return found


async def accept(
    tx: Transaction, keys: PeopleKeys, code: str, passphrase: str, tries: Tries, former: Session | None, now: datetime
) -> Session:
    """Uses the invitation up. `passphrase` as it is kept. Raises `Refused` where it is used already."""
    person = await invited(tx, keys, code, now)
    if person is None:
        raise Refused("invitation-unknown")
    await wrong_tries.take_back(tx, tries)
    if former is not None:
        await sign_out(tx, former, now)
    person = person._replace(passphrase=passphrase, invitation_until=None)
    await store.keep(tx, person, None)
    await store.record(tx, person, "accepted", person.name, None, now)
    return await _begin(tx, person, now)


async def _begin(tx: Transaction, person: Person, now: datetime) -> Session:
    principal = Principal(person.name, person.role, person.campaign_id, person.unit_code)
    session = Session(new_secret(), person.person_id, person.generation, principal, now, now + LONGEST)
    row = SessionRow(session.hash, person.person_id, person.generation, now, now, session.ends_at)
    await store.begin(tx, row)
    return session


# ---- while signed in, and out ----------------------------------------------------------------------------------------


async def renew(tx: Transaction, session: Session, now: datetime) -> Session | None:
    """The same session, to be signed anew; None where it is over."""
    row = await store.seen(tx, session.hash, now)
    if row is None or row.generation != session.generation:
        return None
    return Session(session.secret, session.person_id, session.generation, session.principal, now, row.ends_at)


async def sign_out(tx: Transaction, session: Session, now: datetime) -> None:
    """Ends a session; one that has ended already is left alone."""
    row = await store.end(tx, session.hash)
    if row is None:
        return
    await sessions.keep_ended(tx, row.session, row.ends_at)
    await outbox.add(
        tx,
        SessionEndedV1(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=session.principal.campaign,
            session=row.session.hex(),
            keep_until=row.ends_at,
        ),
    )


async def sign_out_everywhere(tx: Transaction, session: Session, now: datetime) -> None:
    """Ends all of a person's sessions; the passphrase stays."""
    known = await store.person(tx, session.person_id)
    if known is None or known.generation != session.generation:
        return
    person = known._replace(generation=known.generation + 1)
    await store.keep(tx, person, None)
    await store.record(tx, person, "signed_out_everywhere", person.name, None, now)
    await _tell_changed(tx, person, now)


async def forget_expired(tx: Transaction) -> int:
    return await store.forget_expired(tx) + await wrong_tries.forget_expired(tx)
