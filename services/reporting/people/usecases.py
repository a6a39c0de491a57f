"""Invites the office's people, signs them in and out, and revokes them. The caller opens the transaction. `now` is wall time.

Every change of what a person may do raises the person's `generation`, and sessions of an earlier generation are over: here at
once, in the other services as soon as the event arrives, within seconds.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.reporting.people import domain, second_step, store
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.second_step import Passed
from services.reporting.people.store import Listed, Person, SessionRow
from shared.bus import outbox
from shared.contracts.reporting import PersonChangedV1, SessionEndedV1
from shared.database import Transaction
from shared.ids import new_event_id
from shared.people import sessions
from shared.service import wrong_tries
from shared.service.refusals import Refused
from shared.service.sessions import IDLE, LONGEST, Session, new_secret
from shared.service.tokens import Principal, Role
from shared.service.wrong_tries import Limit, Tries

TRIES_WITHIN = timedelta(minutes=15)
BY_NAME_MAX = 10
BY_ADDRESS_MAX = 60  # an office shares an address


@dataclass(frozen=True)
class Invited:
    person: Person
    code: str  # in clear; only its hash is kept, so it is shown once


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
    """Invites somebody new. With `again` it invites somebody known anew: role and unit are replaced, the old passphrase and the
    second step are void.

    Two people cannot have the same name, so what is recorded under a name is always about one person. Raises `Refused`."""
    kept_name = domain.name_as_kept(name)
    if kept_name is None:
        raise Refused("name-unusable", f"姓名或岗位，最多 {domain.NAME_MAX_CHARS} 个字符")
    existing = await store.person_named(tx, kept_name)
    if existing is not None and existing.campaign_id != campaign_id:
        raise Refused("name-of-other-campaign", "每人一个名字，全系统不重复：请加上单位或年份，例如“王芳（忻府）”")
    if existing is not None and not again:
        raise Refused("already-invited", "忘了口令、换了角色或单位：再次邀请，fanzha person invite --again")
    generation = 1 if existing is None else existing.generation + 1
    code = domain.new_code(secrets.randbelow)
    person = Person(
        uuid4() if existing is None else existing.person_id,
        campaign_id,
        kept_name,
        role,
        unit,
        generation,
        passphrase=None,
        invitation_until=now + domain.INVITATION_VALID_FOR,
        revoked_at=None,
    )
    await store.keep(tx, person, keys.hash_of("invitation", domain.code_as_kept(code) or ""))
    await store.forget_authenticator(tx, person.person_id)
    await store.record(tx, person, "invited", actor, None, now)
    await _tell_changed(tx, person, now)
    return Invited(person, code)


async def revoke(
    tx: Transaction, campaign_id: str, person_id: UUID, *, actor: str, reason: str, now: datetime
) -> Person:
    """Signs the person out everywhere and voids passphrase and invitation. Nobody signs in again without being invited again.
    Raises `Refused`."""
    existing = await store.person(tx, person_id)
    if existing is None or existing.campaign_id != campaign_id:
        raise Refused("no-such-person")
    person = existing._replace(
        generation=existing.generation + 1,
        passphrase=None,
        invitation_until=None,
        revoked_at=existing.revoked_at or now,
    )
    await store.keep(tx, person, None)
    await store.forget_authenticator(tx, person_id)
    await store.record(tx, person, "revoked", actor, reason, now)
    await _tell_changed(tx, person, now)
    return person


async def people(tx: Transaction, campaign_id: str, after: str | None, limit: int) -> Sequence[Listed]:
    return await store.people(tx, campaign_id, after, limit)


async def sign_everybody_out(tx: Transaction, now: datetime) -> None:
    """Ends all sessions after a backup was restored, which knows neither those that ended since nor the generations given out
    since. The new generation is the minutes since 1970: higher than any of before, since nobody is changed once a minute."""
    for person in await store.raise_generations(tx, int(now.timestamp()) // 60):
        await _tell_generation(tx, person, now)


async def _tell_changed(tx: Transaction, person: Person, now: datetime) -> None:
    """Ends all sessions of the person here, and tells the other services the new generation."""
    await store.end_all(tx, person.person_id)
    await _tell_generation(tx, person, now)


async def _tell_generation(tx: Transaction, person: Person, now: datetime) -> None:
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
    """Counts a try to sign in, by address and name, or to use an invitation, by address alone (`name` is None). Raises `Refused`
    beyond a limit."""
    limits = [Limit(keys.hash_of("address", address), BY_ADDRESS_MAX, TRIES_WITHIN, "address-tried-too-often")]
    if name is not None:
        limits.append(Limit(keys.hash_of("name", name), BY_NAME_MAX, TRIES_WITHIN, "name-tried-too-often"))
    return await wrong_tries.count(tx, limits)


async def take_back(tx: Transaction, tries: Tries) -> None:
    """The try was right."""
    await wrong_tries.take_back(tx, tries)


async def person_to_sign_in(tx: Transaction, name: str) -> Person | None:
    """The person with this name; None also for somebody who was revoked or has not accepted the invitation."""
    person = await store.person_named(tx, name)
    return person if person is not None and person.passphrase is not None else None


async def sign_in(
    tx: Transaction, person: Person, tries: Tries, former: Session | None, now: datetime
) -> Session | Passed:
    """Begins a session for somebody whose passphrase was right, or says that a code is needed too. `tries` no longer count.
    `former`, the session that this browser had before, ends, so that nobody goes on with a session that somebody else left there.
    Raises `Refused` where the person was changed while the passphrase was compared."""
    if await store.person(tx, person.person_id) != person:
        raise Refused("wrong-name-or-passphrase")
    await wrong_tries.take_back(tx, tries)
    if (await second_step.state(tx, person.person_id)).is_on:
        return Passed(person.person_id, person.generation, now)
    if former is not None:
        await sign_out(tx, former, now)
    return await _begin_session(tx, person, now)


async def person_who_passed(tx: Transaction, passed: Passed) -> Person:
    """Raises `Refused` where the person was changed since."""
    person = await store.person(tx, passed.person_id)
    if person is None or person.generation != passed.generation:
        raise Refused("second-step-expired")
    return person


async def sign_in_with_code(
    tx: Transaction, keys: PeopleKeys, passed: Passed, typed: str, tries: Tries, former: Session | None, now: datetime
) -> Session:
    """Begins a session for somebody whose passphrase was right, with a code of the second step, which is then used. `tries` and
    `former`: as for `sign_in`. Raises `Refused`."""
    person = await person_who_passed(tx, passed)
    if not await second_step.take(tx, keys, person.person_id, typed, now):
        raise Refused("wrong-code")
    await wrong_tries.take_back(tx, tries)
    if former is not None:
        await sign_out(tx, former, now)
    return await _begin_session(tx, person, now)


async def invited(tx: Transaction, keys: PeopleKeys, code: str, now: datetime) -> Person | None:
    """The person whom this code invites; None for a wrong, used or expired code."""
    symbols = domain.code_as_kept(code)
    person = None if symbols is None else await store.invited_with(tx, keys.hash_of("invitation", symbols))
    if person is None or not domain.is_invited(person.invitation_until, person.revoked_at, now):
        return None
    return person


async def accept(
    tx: Transaction, keys: PeopleKeys, code: str, passphrase: str, tries: Tries, former: Session | None, now: datetime
) -> Session:
    """Accepts an invitation, which can then not be used again, and begins a session. `passphrase`: its hash. `tries` and
    `former`: as for `sign_in`. Raises `Refused` where the invitation is no longer valid."""
    person = await invited(tx, keys, code, now)
    if person is None:
        raise Refused("invitation-unknown")
    await wrong_tries.take_back(tx, tries)
    if former is not None:
        await sign_out(tx, former, now)
    person = person._replace(passphrase=passphrase, invitation_until=None)
    await store.keep(tx, person, None)
    await store.record(tx, person, "accepted", person.name, None, now)
    return await _begin_session(tx, person, now)


async def _begin_session(tx: Transaction, person: Person, now: datetime) -> Session:
    principal = Principal(person.name, person.role, person.campaign_id, person.unit_code)
    session = Session(new_secret(), person.person_id, person.generation, principal, now, now + LONGEST)
    row = SessionRow(session.hash, person.person_id, person.generation, now, now, session.ends_at)
    await store.begin(tx, row)
    return session


# ---- while signed in, and out ----------------------------------------------------------------------------------------


async def renew(tx: Transaction, session: Session, now: datetime) -> Session | None:
    """The same session with a new time of signing, to be put into a new cookie; None where the session is over."""
    row = await store.seen(tx, session.hash, now)
    if row is None or row.generation != session.generation:
        return None
    return Session(session.secret, session.person_id, session.generation, session.principal, now, row.ends_at)


async def person_of(tx: Transaction, session: Session) -> Person:
    """Whose session it is. Raises `Refused` where the person was changed since the session began."""
    person = await store.person(tx, session.person_id)
    if person is None or person.generation != session.generation:
        raise Refused("signed-out-meanwhile")
    return person


async def change_passphrase(tx: Transaction, person: Person, passphrase: str, tries: Tries, now: datetime) -> Session:
    """Replaces the passphrase of somebody who knew the old one; ends all of the person's sessions, and begins one in their place.
    `passphrase`: the new one's hash; `tries` no longer count. Raises `Refused` where the person was changed meanwhile."""
    if await store.person(tx, person.person_id) != person:
        raise Refused("signed-out-meanwhile")
    await wrong_tries.take_back(tx, tries)
    person = person._replace(passphrase=passphrase, generation=person.generation + 1)
    await store.keep(tx, person, None)
    await store.record(tx, person, "passphrase_changed", person.name, None, now)
    await _tell_changed(tx, person, now)
    return await _begin_session(tx, person, now)


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
    existing = await store.person(tx, session.person_id)
    if existing is None or existing.generation != session.generation:
        return
    person = existing._replace(generation=existing.generation + 1)
    await store.keep(tx, person, None)
    await store.record(tx, person, "signed_out_everywhere", person.name, None, now)
    await _tell_changed(tx, person, now)


async def signed_in(tx: Transaction, now: datetime) -> dict[str, int]:
    """The sessions whose cookie is still good, by campaign."""
    return await store.sessions_in_use(tx, now - IDLE)


async def forget_expired(tx: Transaction) -> int:
    """Deletes sessions that are over and tries that no longer count; returns how many rows."""
    return await store.forget_expired(tx) + await wrong_tries.forget_expired(tx)
