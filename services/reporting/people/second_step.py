"""The second step at signing in, for those who switched it on: a code of an authenticator app, or one of eight recovery codes.

Every code is taken at most once. The caller opens the transaction. `now` is wall time.
"""

import base64
import json
import secrets
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.reporting.people import authenticator, domain, store
from services.reporting.people.keys import PeopleKeys
from services.reporting.people.store import Authenticator, Person
from shared.database import Transaction
from shared.service.refusals import Refused


class State(NamedTuple):
    """The second step of somebody signed in."""

    is_on: bool
    recovery_codes_left: int


class Offer(NamedTuple):
    """A secret for an app. Nothing is kept of it until a code confirms it: the page carries it, encrypted."""

    secret: str
    sealed: str


# ---- switching it on and off -----------------------------------------------------------------------------------------


async def state(tx: Transaction, person_id: UUID) -> State:
    is_on = await store.authenticator(tx, person_id) is not None
    return State(is_on, await store.recovery_codes_left(tx, person_id))


def offer(keys: PeopleKeys, person_id: UUID) -> Offer:
    secret = authenticator.new_secret()
    return Offer(secret, base64.b64encode(keys.encrypt(secret, _secret_of(person_id))).decode())


def offered(keys: PeopleKeys, person_id: UUID, sealed: str) -> Offer:
    """The offer that a page carried. Raises `Refused` where it is none of this person's."""
    value = _from_text(sealed)
    secret = None if value is None else keys.decrypt(value, _secret_of(person_id))
    if secret is None:
        raise Refused("second-step-expired")
    return Offer(secret, sealed)


async def switch_on(
    tx: Transaction, keys: PeopleKeys, person: Person, offer: Offer, typed: str, now: datetime
) -> list[str]:
    """Switches it on with the app's first code, which is then used; returns the recovery codes, which are shown this once.
    Raises `Refused`."""
    if await store.authenticator(tx, person.person_id) is not None:
        raise Refused("second-step-is-on")
    code = authenticator.code_as_compared(typed)
    step = None if code is None else authenticator.step_of(offer.secret, code, now)
    if step is None:
        raise Refused("wrong-code")
    codes = [domain.new_code(secrets.randbelow, domain.RECOVERY_CODE_LENGTH) for _ in range(domain.RECOVERY_CODES)]
    hashes = [_recovery_hash(keys, person.person_id, code) for code in codes]
    kept = Authenticator(keys.encrypt(offer.secret, _secret_of(person.person_id)), step)
    await store.keep_authenticator(tx, person.person_id, kept, hashes)
    await store.record(tx, person, "second_step_on", person.name, None, now)
    return codes


async def switch_off(tx: Transaction, keys: PeopleKeys, person: Person, typed: str, now: datetime) -> None:
    """Switches it off with a code. Raises `Refused`."""
    if not await take(tx, keys, person.person_id, typed, now):
        raise Refused("wrong-code")
    await store.forget_authenticator(tx, person.person_id)
    await store.record(tx, person, "second_step_off", person.name, None, now)


# ---- signing in ------------------------------------------------------------------------------------------------------


async def take(tx: Transaction, keys: PeopleKeys, person_id: UUID, typed: str, now: datetime) -> bool:
    """Whether this is a code of the person that was not used before; from now on it is used. Where the deployment's key was
    changed the secret cannot be read any more, and no code is right."""
    kept = await store.authenticator(tx, person_id)
    if kept is None:
        return False
    code = authenticator.code_as_compared(typed)
    if code is None:
        return await store.use_recovery_code(tx, person_id, _recovery_hash(keys, person_id, typed))
    secret = keys.decrypt(kept.secret, _secret_of(person_id))
    step = None if secret is None else authenticator.step_of(secret, code, now)
    if step is None or step <= kept.last_step:
        return False
    await store.keep_step(tx, person_id, step)
    return True


class Passed(NamedTuple):
    """Somebody whose passphrase was right, and when."""

    person_id: UUID
    generation: int
    at: datetime


def sealed_pass(keys: PeopleKeys, passed: Passed, browser: str) -> str:
    """What the page for the code carries: valid for five minutes, and in this browser alone (`browser`: its form secret)."""
    text = json.dumps([str(passed.person_id), passed.generation, passed.at.isoformat()])
    return base64.b64encode(keys.encrypt(text, f"passphrase was right at {browser}")).decode()


def opened_pass(keys: PeopleKeys, sealed: str, browser: str, now: datetime) -> Passed:
    """Raises `Refused` for what is no such value, of another browser, or too old."""
    value = _from_text(sealed)
    text = None if value is None else keys.decrypt(value, f"passphrase was right at {browser}")
    if text is None:
        raise Refused("second-step-expired")
    person_id, generation, at = json.loads(text)
    passed = Passed(UUID(person_id), generation, datetime.fromisoformat(at))
    if now - passed.at > domain.SECOND_STEP_WITHIN:
        raise Refused("second-step-expired")
    return passed


def _secret_of(person_id: UUID) -> str:
    return f"authenticator of {person_id}"


def _recovery_hash(keys: PeopleKeys, person_id: UUID, typed: str) -> bytes:
    symbols = domain.code_as_kept(typed, domain.RECOVERY_CODE_LENGTH) or ""
    return keys.hash_of("recovery", f"{person_id} {symbols}")


def _from_text(sealed: str) -> bytes | None:
    try:
        return base64.b64decode(sealed, validate=True)
    except ValueError:
        return None
