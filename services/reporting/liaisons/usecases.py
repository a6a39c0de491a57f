"""Names liaisons, makes the codes on their slips, binds their phones and lets go of them. The caller opens the transaction.

`now` is the clock's time where somebody is named, and wall time for codes and devices, because cookies expire by it.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.reporting.definition import Definition
from services.reporting.liaisons import domain, store
from services.reporting.liaisons.domain import Contacts
from services.reporting.liaisons.keys import LiaisonKeys
from services.reporting.liaisons.store import DeviceUnit, Liaison, Reach
from shared.addresses import network_of
from shared.bus import outbox
from shared.clock import CHINA
from shared.contracts.reporting import LiaisonNamedV1
from shared.database import Transaction
from shared.definitions import Definitions
from shared.ids import new_event_id
from shared.people.campaign_keys import public_keys
from shared.people.erasure import record_retention
from shared.service import wrong_tries
from shared.service.refusals import Refused
from shared.service.sessions import hash_of, new_secret
from shared.service.wrong_tries import Limit, Tries

COOKIE = "__Host-fanzha-device"  # in it a secret; tables have its hash
UNDER_WAY = timedelta(minutes=1)  # how long a device's former secret is good, for requests that are under way with it
NO_REACH = Reach(has_code=False, devices=0)


@dataclass(frozen=True)
class Bound:
    """A device that may report for one more unit. `secret` goes into its cookie and is kept nowhere."""

    unit: DeviceUnit
    secret: str


# ---- who reports -----------------------------------------------------------------------------------------------------


async def name_liaison(
    tx: Transaction,
    keys: LiaisonKeys,
    campaign_id: str,
    unit_code: str,
    contacts: Contacts,
    *,
    actor: str,
    reason: str | None,
    now: datetime,
) -> Liaison:
    """Names who reports for a unit: the liaison and, where given, a deputy and the leader in charge; they replace all who were
    named before. Where somebody else becomes the liaison, the former one's code and devices are void at once. Raises
    `Refused`."""
    masks = domain.masked(contacts)
    former = await store.hold(tx, campaign_id, unit_code)
    if replaced := domain.is_somebody_else(former.posts, masks):
        await store.void(tx, campaign_id, unit_code)
    liaison = Liaison(campaign_id, unit_code, former.revision + 1, masks, now, actor, reason)
    await store.keep(tx, liaison)
    await store.record(tx, campaign_id, [unit_code], "replaced" if replaced else "named", actor, reason, now)
    await _tell(tx, keys, liaison, contacts, now)
    return liaison


async def remove_liaison(
    tx: Transaction, keys: LiaisonKeys, campaign_id: str, unit_code: str, *, actor: str, reason: str, now: datetime
) -> None:
    """The unit has nobody any more; its code and devices are void at once. Raises `Refused` where it had nobody."""
    former = await store.hold(tx, campaign_id, unit_code)
    if former.posts is None:
        raise Refused("no-liaison")
    await store.void(tx, campaign_id, unit_code)
    liaison = Liaison(campaign_id, unit_code, former.revision + 1, None, now, actor, reason)
    await store.keep(tx, liaison)
    await store.record(tx, campaign_id, [unit_code], "removed", actor, reason, now)
    await _tell(tx, keys, liaison, None, now)


async def liaisons(tx: Transaction, campaign_id: str, unit_codes: Sequence[str] | None = None) -> dict[str, Liaison]:
    """Who is named, masked, by unit: of these units, or of all."""
    return await store.liaisons(tx, campaign_id, unit_codes)


async def reach(tx: Transaction, campaign_id: str, unit_codes: Sequence[str], now: datetime) -> Mapping[str, Reach]:
    """Which units have a live code, and how many devices each; units with neither are left out."""
    return await store.reach(tx, campaign_id, unit_codes, now)


async def _tell(tx: Transaction, keys: LiaisonKeys, liaison: Liaison, contacts: Contacts | None, now: datetime) -> None:
    sealed = keys.sealed(await public_keys(tx, liaison.campaign_id), [contacts], [liaison.unit_code])
    if sealed is None and contacts is not None:
        raise Refused("campaign-erased")
    await outbox.add(
        tx,
        LiaisonNamedV1(
            event_id=new_event_id(),
            occurred_at=now,
            campaign_id=liaison.campaign_id,
            unit_codes=[liaison.unit_code],
            revisions=[liaison.revision],
            contacts=sealed,
        ),
    )


# ---- codes on slips --------------------------------------------------------------------------------------------------


async def make_codes(
    tx: Transaction, keys: LiaisonKeys, campaign_id: str, unit_codes: Collection[str], *, actor: str, now: datetime
) -> dict[str, str]:
    """New codes by unit, in clear: only their hashes are kept, so they are shown once. The units' former codes are void; devices
    that were bound with them stay."""
    codes = {unit_code: domain.new_code(secrets.randbelow) for unit_code in sorted(unit_codes)}
    hashes = [keys.hash_of("code", domain.code_as_kept(code) or "") for code in codes.values()]
    await store.keep_codes(tx, campaign_id, list(codes), hashes, now)
    await store.record(tx, campaign_id, list(codes), "code_made", actor, None, now)
    return codes


async def count_try(tx: Transaction, keys: LiaisonKeys, address: str, now: datetime) -> Tries:
    """Counts a try to use a code, over all replicas. Raises `Refused` beyond the limit of the address, and says from when on it
    may try again."""
    who = keys.hash_of("address", network_of(address))
    limit = Limit(who, domain.WRONG_TRIES_MAX, domain.WRONG_TRIES_WITHIN, "codes-tried-too-often")
    try:
        return await wrong_tries.count(tx, [limit])
    except Refused:
        seconds = await wrong_tries.seconds_to_wait(tx, limit)
        again_at = (now + timedelta(seconds=seconds, minutes=1)).astimezone(CHINA)  # the seconds are not shown
        raise Refused("codes-tried-too-often", f"请在 {again_at:%H:%M} 以后再试", retry_after_s=seconds) from None


async def bind_device(
    tx: Transaction, keys: LiaisonKeys, code: str, former: str | None, tries: Tries, now: datetime
) -> Bound:
    """Lets the device report for the unit of the code. `code`: `domain.code_as_kept`; `former`: the secret in its cookie.

    The device gets a new secret, and its other units with it: nobody can go on with a secret that somebody put there before.
    `tries` no longer count. Raises `Refused` for an unknown code."""
    unit = await store.unit_of_code(tx, keys.hash_of("code", code))
    if unit is None:
        raise Refused("code-unknown")
    await wrong_tries.take_back(tx, tries)
    secret = new_secret()
    device = hash_of(secret)
    if former is not None:
        await store.carry_over(tx, hash_of(former), device, now + UNDER_WAY, now)
    await store.bind(tx, device, unit, now, domain.DEVICE_VALID_FOR)
    if len(await store.units_of_device(tx, device, now)) > domain.UNITS_PER_DEVICE_MAX:
        raise Refused("too-many-units")
    await store.keep_newest(tx, unit, domain.DEVICES_PER_UNIT_MAX, now)
    await store.record(tx, unit.campaign_id, [unit.unit_code], "device_bound", "code", None, now)
    return Bound(unit, secret)


async def units_of_device(tx: Transaction, cookie: str | None, now: datetime) -> list[DeviceUnit]:
    """The units for which the device with this cookie may report now; none without a cookie of ours. `now`: wall time."""
    return [] if not cookie else await store.units_of_device(tx, hash_of(cookie), now)


async def forget_device(tx: Transaction, cookie: str | None) -> int:
    """Somebody leaves the page for good on this device. Returns for how many units it could report."""
    return 0 if not cookie else await store.forget_device(tx, hash_of(cookie))


async def revoke_devices(
    tx: Transaction, campaign_id: str, unit_code: str, *, actor: str, reason: str, now: datetime
) -> int:
    """Voids the unit's code and lets go of its devices at once, as when a slip or a phone is lost; the liaison stays named.
    Returns how many devices."""
    await store.hold(tx, campaign_id, unit_code)
    revoked = await store.void(tx, campaign_id, unit_code)
    await store.record(tx, campaign_id, [unit_code], "devices_revoked", actor, reason, now)
    return revoked


# ---- the end ---------------------------------------------------------------------------------------------------------


async def forget_ended(tx: Transaction, now: datetime) -> int:
    """Deletes devices whose time is over. `now`: wall time. Returns how many."""
    return await store.forget_ended_devices(tx, now)


async def forget(tx: Transaction, definitions: Definitions[Definition], now: datetime) -> int:
    """Forgets masks, codes and devices of campaigns that keep people's data no longer (`retain_days`); returns how many
    liaisons."""
    over = [
        campaign_id
        for campaign_id, definition in (await definitions.all(tx)).items()
        if definition.keeps_people_until is not None and definition.keeps_people_until <= now
    ]
    forgotten = await store.forget_campaigns(tx, over) if over else 0
    if forgotten:
        await record_retention(tx, {"liaison": forgotten}, now)
    return forgotten
