"""Keeps who completed; issues, claims, revokes and reissues certificates; answers the office (DESIGN §5.4).

The caller opens the transaction. What a certificate is made of stands in certificates.py, names and phones in contacts.py."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.certificate import domain, store, wrong_claims
from services.certificate.certificates import keep_signing_key, new_certificate, signed_certificate
from services.certificate.events import claimed_event, issued_event, revoked_event
from services.certificate.keys import Keys, bound_to
from shared.bus import outbox
from shared.contracts.campaign import CampaignRules, read_rules
from shared.contracts.checkin import CampaignDefinedV1, CheckinRecordedV1, LessonMadeGoodV1
from shared.database import Transaction
from shared.definitions import Definitions
from shared.people import phones
from shared.people.at_rest import lookup_hash
from shared.people.campaign_keys import CampaignKeys
from shared.people.names import NameRefused, normalise_name
from shared.service import wrong_tries
from shared.service.refusals import Refused

ISSUE_ROWS_MAX = 500  # one event; signing takes 40 ms


# ---- facts -----------------------------------------------------------------------------------------------------------


async def keep_definition(
    tx: Transaction, event: CampaignDefinedV1, definitions: Definitions[CampaignRules], keys: Keys
) -> None:
    """Keeps the definition. The first one also makes the campaign's key, before anybody enrols."""
    if await definitions.keep(tx, event):
        await store.retain_for(tx, event.campaign_id, read_rules(event.rules).retain_days)
        await keys.recipient.keys(tx, event.campaign_id, event.occurred_at)


async def keep_completions(tx: Transaction, events: Sequence[CheckinRecordedV1 | LessonMadeGoodV1]) -> None:
    """Keeps a row for each check-in with which a viewer reached the required days, and none for the others."""
    completions: dict[str, list[store.Completion]] = defaultdict(list)
    for event in events:
        completions[event.campaign_id] += (
            store.Completion(row.viewer_id, row.unit_code, row.group, row.credited_lessons)
            for row in event.rows()
            if row.credited_lessons is not None
        )
    for campaign_id in sorted(completions):
        await store.keep_completions(tx, campaign_id, completions[campaign_id])


# ---- issuing ---------------------------------------------------------------------------------------------------------


async def issue_due(tx: Transaction, definitions: Definitions[CampaignRules], keys: Keys, now: datetime) -> int:
    """Issues certificates to a portion of those who completed a campaign whose claim time has come; returns how many."""
    for rules in (await definitions.all(tx)).values():
        certificate_rules = rules.certificate  # None in a campaign without a course
        is_due = certificate_rules is not None and certificate_rules.claim_from <= now
        if is_due and (issued := await _issue(tx, rules, keys, now)):
            return issued
    return 0


async def _issue(tx: Transaction, rules: CampaignRules, keys: Keys, now: datetime) -> int:
    """Issues up to `ISSUE_ROWS_MAX` certificates of a campaign in one event; returns how many."""
    await store.one_issuer(tx, rules.campaign_id)
    completions = await store.to_issue(tx, rules.campaign_id, ISSUE_ROWS_MAX)
    if not completions:
        return 0
    campaign_keys = await keys.recipient.keys(tx, rules.campaign_id, now)
    contacts = await store.contacts(tx, rules.campaign_id, [completion.viewer_id for completion in completions])
    no_contact = store.KnownContact()
    issued = [
        new_certificate(rules, completion, contacts.get(completion.viewer_id, no_contact), keys, campaign_keys, now)
        for completion in completions
    ]
    await keep_signing_key(tx, keys)
    await store.add_certificates(tx, [certificate.row for certificate in issued])
    await outbox.add(tx, await issued_event(tx, rules.campaign_id, issued, keys, now))
    return len(issued)


# ---- claiming --------------------------------------------------------------------------------------------------------


async def claim(
    tx: Transaction, keys: Keys, claim_code: str, phone_tail: str | None, address: str, now: datetime
) -> store.Certificate | Refused:
    """Marks the certificate claimed (领取), once; claiming again answers the same.

    For a wrong code, a wrong phone tail or a revoked certificate the refusal is returned and not raised, because the counted
    wrong try must be committed. After too many wrong tries the refusal is raised, and nothing is counted.
    """
    code = domain.normalise_claim_code(claim_code)
    address_limit = wrong_claims.by_address(keys.lookup_key, address)
    row = None if code is None else await store.by_claim_code(tx, lookup_hash(keys.lookup_key, code))
    if row is None or code is None:
        # What cannot be a code is a typing mistake and no guess, so it must not use up the tries of others at this address.
        await (wrong_tries.check if code is None else wrong_tries.count)(tx, [address_limit])
        return Refused("wrong-claim-code")
    code_limit = wrong_claims.by_code(keys.lookup_key, code)
    limits = [address_limit, code_limit]
    if row.revoked_at is not None:
        await wrong_tries.count(tx, limits)
        return Refused("claim-of-revoked")
    expected_tail = await _phone_tail(tx, row, keys)
    if expected_tail is not None and (phone_tail is None or phones.normalise_phone_tail(phone_tail) != expected_tail):
        # A caller who leaves the tail out has guessed nothing, and only learns that it is needed.
        await (wrong_tries.count if (phone_tail or "").strip() else wrong_tries.check)(tx, limits)
        return Refused("wrong-phone-tail")
    # Whoever knows the code, and the tail where there is one, is the holder: wrong tries from the same address do not matter.
    await wrong_tries.check(tx, [code_limit])
    if row.claimed_at is None:
        await store.claim(tx, row.serial, now)
        await outbox.add(tx, claimed_event(row, now))
    return row


async def _phone_tail(tx: Transaction, row: store.Certificate, keys: Keys) -> str | None:
    """The phone tail that the holder must know besides the code; None where no phone is known."""
    contact = (await store.contacts(tx, row.campaign_id, [row.viewer_id])).get(row.viewer_id, store.KnownContact())
    if contact.phone_tail is None:
        return None
    campaign_keys = await keys.recipient.keys_to_read(tx, row.campaign_id)
    return campaign_keys.decrypt(contact.phone_tail, bound_to(row.campaign_id, row.viewer_id))


# ---- revoking and reissuing ------------------------------------------------------------------------------------------


async def revoke(tx: Transaction, campaign_id: str, viewer_id: str, actor: str, reason: str, now: datetime) -> str:
    """Revokes the viewer's valid certificate; returns its serial. Refused as `no-certificate` or `already-revoked`."""
    row = await _valid_certificate(tx, campaign_id, viewer_id)
    await store.revoke(tx, row.serial, now, actor, reason, None)
    await outbox.add(tx, revoked_event(row, reason, None, now))
    return row.serial


async def reissue(
    tx: Transaction,
    keys: Keys,
    campaign_id: str,
    viewer_id: str,
    name: str,
    actor: str,
    reason: str,
    now: datetime,
    request_id: str | None = None,
) -> str:
    """Replaces the viewer's certificate by one with the corrected name; returns the new serial. A claimed certificate stays
    claimed.

    The same `request_id` again returns the same serial and changes nothing. Refused as `name-refused`, `campaign-erased`,
    `no-certificate`, `already-revoked`, or `request-id-used` where that id came with another viewer or name before."""
    try:
        corrected = normalise_name(name)
    except NameRefused as error:
        raise Refused("name-refused", str(error)) from error
    if corrected is None:
        raise Refused("name-refused", "姓名里没有看得见的字")
    campaign_keys = await keys.recipient.keys(tx, campaign_id, now)
    if campaign_keys.destroyed:
        raise Refused("campaign-erased")
    if request_id and (
        serial := await _reissued_before(tx, campaign_keys, campaign_id, request_id, viewer_id, corrected)
    ):
        return serial
    old = await _valid_certificate(tx, campaign_id, viewer_id)
    completion = store.Completion(viewer_id, old.unit_code, old.group_code, old.credited_lessons)
    issued_at = now.replace(microsecond=0)
    new = signed_certificate(
        campaign_id, completion, old.campaign_title, old.issuer, corrected, keys, campaign_keys, issued_at
    )
    row = new.row._replace(corrected=True, claimed_at=old.claimed_at, reissue_request=request_id)
    await store.revoke(tx, old.serial, now, actor, reason, row.serial)
    await keep_signing_key(tx, keys)
    await store.add_certificates(tx, [row])
    events: list[Any] = [revoked_event(old, reason, row.serial, now)]
    events.append(await issued_event(tx, campaign_id, [new], keys, now))
    if old.claimed_at is not None:
        events.append(claimed_event(row, old.claimed_at))
    await outbox.add(tx, *events)
    return row.serial


async def refuse_minor(
    tx: Transaction, definitions: Definitions[CampaignRules], campaign_id: str, viewer_id: str
) -> None:
    """Refuses, as `guardian-consent-needed`, a viewer in a group of minors, or one whose name was withdrawn as a minor's."""
    rules, row = await definitions.in_force(tx, campaign_id), await store.last_of(tx, campaign_id, viewer_id)
    minors = {group.code for group in rules.groups if group.minors} if rules else set()
    if (row is not None and row.group_code in minors) or await store.is_withdrawn(tx, campaign_id, viewer_id):
        raise Refused("guardian-consent-needed")


async def _reissued_before(
    tx: Transaction, campaign_keys: CampaignKeys, campaign_id: str, request_id: str, viewer_id: str, name: str
) -> str | None:
    """The serial that an earlier request with this id has made; None where there was none. Requests at the same time take turns.
    Refused as `request-id-used` where that request was for another viewer or name."""
    await store.one_issuer(tx, campaign_id)
    row = await store.by_reissue_request(tx, campaign_id, request_id)
    if row is None:
        return None
    known_name = None if row.name is None else campaign_keys.decrypt(row.name, bound_to(campaign_id, row.viewer_id))
    if (row.viewer_id, known_name) != (viewer_id, name):
        raise Refused("request-id-used")
    return row.serial


async def _valid_certificate(tx: Transaction, campaign_id: str, viewer_id: str) -> store.Certificate:
    """The viewer's valid certificate, locked. Refused as `no-certificate` or `already-revoked`."""
    await store.one_issuer(tx, campaign_id)
    row = await store.last_of(tx, campaign_id, viewer_id, lock=True)
    if row is None:
        raise Refused("no-certificate")
    if row.revoked_at is not None:
        raise Refused("already-revoked")
    return row


async def certificate_shown(tx: Transaction, campaign_id: str, serial: str, request_id: str | None) -> str:
    """The viewer whose certificate a page of the office showed when somebody there decided to change it.

    Refused as `no-certificate`, or as `replaced-meanwhile` when the viewer has got another certificate since, unless this same
    request made that one."""
    await store.one_issuer(tx, campaign_id)
    row = await store.by_serial(tx, serial)
    if row is None or row.campaign_id != campaign_id:
        raise Refused("no-certificate")
    last = await store.last_of(tx, campaign_id, row.viewer_id)
    if last is not None and last.serial != serial and (request_id is None or last.reissue_request != request_id):
        raise Refused("replaced-meanwhile")
    return row.viewer_id


# ---- questions -------------------------------------------------------------------------------------------------------


async def look_up(tx: Transaction, keys: Keys, campaign_id: str, typed: str) -> store.Certificate | None:
    """The campaign's certificate with this serial or claim code, else the last one of the account with this id; None if none."""
    row: store.Certificate | None = None
    if (serial := domain.normalise_serial(typed)) is not None:
        row = await store.by_serial(tx, serial)
    elif (claim_code := domain.normalise_claim_code(typed)) is not None:
        row = await store.by_claim_code(tx, lookup_hash(keys.lookup_key, claim_code))
    if row is None and (viewer_id := typed.strip()):
        row = await store.last_of(tx, campaign_id, viewer_id)
    return row if row is not None and row.campaign_id == campaign_id else None


async def why_none(
    tx: Transaction, definitions: Definitions[CampaignRules], campaign_id: str, viewer_id: str, now: datetime
) -> str:
    """Why a viewer has no certificate yet: `not_completed`, `claim_time_not_come` or `about_to_be_issued`."""
    if not await store.completed(tx, campaign_id, viewer_id):
        return "not_completed"
    rules = await definitions.in_force(tx, campaign_id)
    if rules is None or rules.certificate is None or now < rules.certificate.claim_from:
        return "claim_time_not_come"
    return "about_to_be_issued"
