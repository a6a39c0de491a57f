"""What reporting does; the caller opens the transaction."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction

from services.reporting.definition import UNDEFINED, Definition
from services.reporting.totals import answers, domain, store
from services.reporting.totals.answers import LiveRoom, Totals
from services.reporting.totals.questions import By, LiveRoomBy, Question
from shared.contracts.base import Mode
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import CheckinRecordedV1, ViewerReassignedV1
from shared.database import Transaction
from shared.definitions import Definitions
from shared.service.refusals import Refused
from shared.service.tokens import Principal


async def add_checkins(tx: Transaction, events: Sequence[CheckinRecordedV1]) -> None:
    """Adds several events to the totals, by place and by platform, in one sorted statement a campaign and table."""
    of_campaign: dict[str, list[CheckinRecordedV1]] = defaultdict(list)
    for event in events:
        of_campaign[event.campaign_id].append(event)
    for campaign_id, theirs in sorted(of_campaign.items()):
        changes = [change for event in theirs for change in domain.checkin_changes(event)]
        await store.add_to_totals(tx, campaign_id, domain.folded(changes))
        await store.add_to_platform_totals(tx, campaign_id, domain.platform_changes(theirs))


async def move_viewers(tx: Transaction, event: ViewerReassignedV1) -> None:
    """Moves the sums of the viewers' check-ins, and remembers where their certificates count."""
    await store.add_to_totals(tx, event.campaign_id, domain.move_changes(event))
    moves = domain.latest_moves(event)
    async with store.counting_certificates(tx, event.campaign_id, [move.viewer_id for move in moves]):
        await store.keep_moves(tx, event.campaign_id, moves)


async def issue_certificates(tx: Transaction, event: CertificateIssuedV1) -> None:
    async with store.counting_certificates(tx, event.campaign_id, event.viewer_ids):
        await store.issue(tx, event.campaign_id, domain.issues(event))


async def claim_certificates(tx: Transaction, event: CertificateClaimedV1) -> None:
    async with store.counting_certificates(tx, event.campaign_id, event.viewer_ids):
        await store.mark_claimed(tx, event.campaign_id, domain.holders(event))


async def revoke_certificates(tx: Transaction, event: CertificateRevokedV1) -> None:
    async with store.counting_certificates(tx, event.campaign_id, event.viewer_ids):
        await store.mark_revoked(tx, event.campaign_id, domain.holders(event))


async def totals(
    tx: Transaction,
    known: Definitions[Definition],
    principal: Principal,
    campaign_id: str,
    *,
    by: By,
    lesson: date | None,
    mode: Mode | None,
    now: datetime,
) -> Totals:
    """The campaign's sums as the principal may see them; `tx` must be one snapshot."""
    definition = await _definition(tx, known, campaign_id)
    question = Question(by, lesson, mode, principal.unit)
    scope = _scope(definition, principal)
    _require_lesson(definition, lesson)
    units = await store.totals_by(tx, campaign_id, "unit", scope=scope, lesson=lesson, mode=mode)
    lines = units
    if by == "platform":
        if scope is not None:
            raise Refused("whole-campaign-only")
        lines = await store.totals_by_platform(tx, campaign_id, lesson=lesson, mode=mode)
    elif by in ("group", "lesson", "mode"):
        lines = await store.totals_by(tx, campaign_id, by, scope=scope, lesson=lesson, mode=mode)
    certificates = (
        await store.certificates_by(tx, campaign_id, "group" if by == "group" else "unit", scope=scope)
        if question.sums_certificates
        else {}
    )
    rows = answers.totals_rows(definition, question, lines, certificates)
    withheld = 0
    if by == "group" and principal.role == "liaison":
        rows, withheld = answers.without_small_groups(rows)
    return Totals(
        as_of=now.astimezone(definition.zone),
        campaign_id=campaign_id,
        by=by,
        lesson=lesson,
        mode=mode,
        rows=rows,
        sum=answers.totals_sum(definition, question, units, certificates.values()),
        withheld=withheld,
    )


async def live_room(
    tx: Transaction,
    known: Definitions[Definition],
    principal: Principal,
    campaign_id: str,
    *,
    by: LiveRoomBy,
    lesson: date | None,
    now: datetime,
) -> LiveRoom:
    """What viewers did in the live room, as far as the principal may see it; `tx` must be one snapshot."""
    definition = await _definition(tx, known, campaign_id)
    scope = _scope(definition, principal)
    _require_lesson(definition, lesson)
    column = by if by in ("lesson", "item") else "unit"
    lines = await store.live_room_by(tx, campaign_id, column, scope=scope, lesson=lesson)
    rows = answers.live_room_rows(definition, Question(by, lesson, None, principal.unit), lines)
    return LiveRoom(as_of=now.astimezone(definition.zone), campaign_id=campaign_id, by=by, lesson=lesson, rows=rows)


async def attribution(tx: Transaction, principal: Principal, campaign_id: str) -> dict[date, float | None]:
    """Lesson → the share of its viewers that belongs to a unit, 0 to 1 (FACTS A3); None without viewers. Nothing for somebody of
    one unit, who sees only that one."""
    if principal.unit is not None:
        return {}
    rows = await store.attribution_by_lesson(tx, campaign_id)
    return {lesson: (viewers - unassigned) / viewers if viewers else None for lesson, viewers, unassigned in rows}


async def recorded_viewers(
    tx: Transaction, known: Definitions[Definition], campaign_id: str, unit_code: str, lesson: date
) -> tuple[int, Fraction | None]:
    """How many people of the unit, with all below it, were recorded for a lesson; and the share of all viewers of the lesson that
    belongs to any unit, None without viewers."""
    definition = await known.in_force(tx, campaign_id)
    scope = definition.tree.subtree(unit_code) if definition else frozenset({unit_code})
    lines = await store.totals_by(tx, campaign_id, "lesson", scope=scope, lesson=lesson)
    rows = await store.attribution_by_lesson(tx, campaign_id)
    everybody, unassigned = next(((viewers, nowhere) for day, viewers, nowhere in rows if day == lesson), (0, 0))
    attributed = Fraction(everybody - unassigned, everybody) if everybody > 0 else None
    return sum(line.counts.first_for_lesson for line in lines), attributed


async def facts_by_lesson(tx: Transaction) -> dict[tuple[str, str, str], int]:
    """What the sums have counted by (campaign_id, lesson_date, kind); a kind is a mode, an action, or `made_good`."""
    return await store.facts_by_lesson(tx)


async def forget_everything_derived(tx: Transaction) -> None:
    """Empties all sums, so that they can be counted again from the other services' ledgers. Needs the owner role."""
    await store.forget_everything_derived(tx)


async def _definition(tx: Transaction, known: Definitions[Definition], campaign_id: str) -> Definition:
    """The definition in force, or `UNDEFINED` where facts arrived before it. Refused as `no-such-campaign` where there is
    neither."""
    definition = await known.in_force(tx, campaign_id)
    if definition is None and not await store.knows_campaign(tx, campaign_id):
        raise Refused("no-such-campaign", f"这里没有活动 {campaign_id} 的定义，也没有数字")
    return definition or UNDEFINED


def _require_lesson(definition: Definition, lesson: date | None) -> None:
    """Refuses a date that is no lesson, which would otherwise read as a lesson to which nobody came."""
    if lesson is None or definition is UNDEFINED or lesson in definition.lessons:
        return
    where = "这个活动没有课程"
    if definition.lessons:
        first, last = min(definition.lessons), max(definition.lessons)
        where = f"课程从 {first} 到 {last}"
    raise Refused("no-such-lesson", where, subject=str(lesson))


def _scope(definition: Definition, principal: Principal) -> store.Scope:
    """The unit codes the principal may read: those of the token's subtree. Everything is read through this."""
    if principal.unit is None:
        return None
    if principal.unit not in definition.tree:
        raise Refused("unit-not-in-campaign")
    return definition.tree.subtree(principal.unit)
