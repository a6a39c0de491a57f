"""checkin's side of the contracts: what the live platform may send over the bus, and that what checkin encodes itself is what
the contracts say. On a real database, without the others."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest

from checks import contracts
from services.checkin.live_events import ITEM_MAX_CHARS, NAME_MAX_CHARS, PHONE_MAX_CHARS
from shared.contracts.base import EVENT_MAX_BYTES, ROWS_MAX
from shared.contracts.registry import BY_SUBJECT, EVENTS
from shared.failures import Poison
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, SECOND_LIVE, CheckinUnderTest, checkin, enrolment, running_checkin
from tests.support.databases import DatabaseFactory
from tests.support.forms import form, indicator

LIVE_EVENTS = Path(__file__).parent / "live_events"
DURABLE = "checkin-live"
LONGEST_ID = "x" * 64

# file → what becomes of its events, by verdict or reason; None: the message is parked
OUTCOMES: dict[str, dict[str, int] | None] = {
    "checked_in": {"recorded": 1},
    "one_of_each_type": {"recorded": 5, "outside_window": 1},
    "live_and_replay_and_repeats": {"recorded": 1, "replay_not_credited": 1, "duplicate": 2},
    "fields_of_next_year": {"recorded": 1},
    "contact_data_on_the_bus": {"recorded": 1},
    "longest_ids": {"recorded": 2},
    "refused_items_among_good_ones": {
        "recorded": 2,
        "malformed": 7,
        "unknown_type": 1,
        "unknown_campaign": 1,
        "in_future": 1,
        "outside_window": 1,
    },
    "deeply_nested": {"malformed": 1},
    "not_json": None,
    "truncated": None,
    "not_utf8": None,
    "empty_array": None,
    "a_number": None,
    "empty": None,
}


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CheckinUnderTest]:
    async with running_checkin(await database("checkin"), tmp_path) as running:
        assert (await running.define(campaign_content())).json() == {"revision": 1, "changed": True, "attributed": 0}
        yield running


# ---- what the live platform may send over the bus --------------------------------------------------------------------


def test_every_kind_of_message_has_an_expected_outcome() -> None:
    assert {path.stem for path in LIVE_EVENTS.iterdir()} == OUTCOMES.keys()


@pytest.mark.parametrize("name", [name for name, outcome in OUTCOMES.items() if outcome])
async def test_a_message_of_the_live_platform_counts_once(service: CheckinUnderTest, name: str) -> None:
    message = (LIVE_EVENTS / f"{name}.json").read_bytes()
    await service.deliver_bodies(DURABLE, message)
    once = await outcomes(service)
    assert once == OUTCOMES[name]
    facts = await ledger(service)
    await service.deliver_bodies(DURABLE, message)
    assert await outcomes(service) - once == Counter(duplicate=once.total() - refused(once))
    assert await ledger(service) == facts


@pytest.mark.parametrize("name", [name for name, outcome in OUTCOMES.items() if outcome is None])
async def test_a_message_that_is_no_array_of_events_is_parked(service: CheckinUnderTest, name: str) -> None:
    with pytest.raises(Poison):
        await service.deliver_bodies(DURABLE, (LIVE_EVENTS / f"{name}.json").read_bytes())
    assert await outcomes(service) == Counter()


async def test_contact_data_on_the_bus_goes_no_further(service: CheckinUnderTest) -> None:
    await service.deliver_bodies(DURABLE, (LIVE_EVENTS / "contact_data_on_the_bus.json").read_bytes())
    (enrolled,) = await service.facts("viewer_enrolled")
    assert enrolled["contacts"] is None


async def outcomes(service: CheckinUnderTest) -> Counter[str]:
    rows = await service.rows("SELECT coalesce(nullif(reason, ''), verdict), n FROM verdict_count")
    outcomes: Counter[str] = Counter()
    for outcome, n in rows:
        outcomes[outcome] += n
    return outcomes


def refused(outcomes: Counter[str]) -> int:
    """A refused event sent again was refused once, and is counted once."""
    reasons = ("malformed", "unknown_type", "unknown_campaign", "in_future", "outside_window")
    return sum(outcomes[reason] for reason in reasons)


# ---- what checkin publishes ------------------------------------------------------------------------------------------


async def ledger(service: CheckinUnderTest) -> list[tuple[UUID, str, bytes]]:
    rows = await service.rows("SELECT event_id, subject, payload FROM outbox ORDER BY event_id")
    return [(event_id, subject, bytes(payload)) for event_id, subject, payload in rows]


async def publish_every_fact(service: CheckinUnderTest) -> None:
    await service.post(
        enrolment("a", unit_code="111-EDU", group="student", name="𠮷田·演示", phone="13900000001"),
        enrolment("b", channel="QR-1"),
        checkin("a"),
        checkin("c", "2024-06-29T11:45:00.123456Z"),
        checkin("a", "2024-06-29T19:40:00+08:00", "q", type="quiz.answered", quiz="“刷单”=诈骗？\\😀"),
        checkin("b", "2024-06-29T19:41:00+08:00", "p", type="prize.won"),
    )
    await service.post(checkin("a", SECOND_LIVE), enrolment("a", "2024-06-30T20:00:00+08:00", unit_code="111"))
    granted = await service.client.post(
        f"/v1/campaigns/{CAMPAIGN}/make-goods",
        json={"lesson_date": "2024-06-30", "reason": "平台故障，已核实", "viewer_ids": ["c"]},
    )
    assert granted.status_code == 200, granted.text
    assert (
        await service.define(campaign_content(forms=[form()], indicators=[indicator("daily.viewers")]))
    ).status_code == 200


async def test_what_checkin_encodes_itself_is_what_the_contracts_say(service: CheckinUnderTest) -> None:
    await publish_every_fact(service)
    published = await ledger(service)
    assert {subject for _, subject, _ in published} == {event.subject() for event in EVENTS if event.OWNER == "checkin"}
    for event_id, subject, payload in published:
        assert faults(event_id, subject, payload) == []


def faults(event_id: UUID, subject: str, payload: bytes) -> list[str]:
    """In which ways a payload is not the event that its subject promises."""
    contract = BY_SUBJECT[subject]
    written: dict[str, Any] = json.loads(payload)
    event = contract.model_validate_json(payload)
    schema = jsonschema_rs.validator_for(contracts.schema_of(contract), validate_formats=True)
    differences = (
        written.keys() ^ contract.model_fields.keys()
    )  # readers ignore unknown fields: a misspelt one would be lost
    return [
        *(str(error) for error in schema.iter_errors(written)),
        *(f"field {name}" for name in sorted(differences)),
        *(["another event id"] if event.event_id != event_id else []),
    ]


def test_a_misspelt_or_ill_typed_field_is_seen() -> None:
    event = (contracts.EXAMPLES / "certificate_claimed.v1.typical.json").read_bytes()
    written = json.loads(event)
    subject, event_id = "events.certificate.certificate_claimed.v1", UUID(written["event_id"])
    assert faults(event_id, subject, event) == []
    assert faults(event_id, subject, json.dumps(written | {"claimd_at": []}).encode()) == ["field claimd_at"]
    assert faults(UUID(int=0), subject, event) == ["another event id"]


async def test_five_hundred_ordinary_check_ins_are_one_event(service: CheckinUnderTest) -> None:
    viewers = [f"ks_{number:08}" for number in range(ROWS_MAX)]
    await service.post(*(checkin(viewer) for viewer in viewers), *(checkin(viewer, SECOND_LIVE) for viewer in viewers))
    assert [len(fact["viewer_ids"]) for fact in await service.facts("checkin_recorded")] == [ROWS_MAX] * 2


async def test_the_longest_ids_names_and_items_still_fit_into_events(service: CheckinUnderTest) -> None:
    viewers = [f"{number:03}{LONGEST_ID}"[:64] for number in range(ROWS_MAX)]
    longest = {
        "unit_code": LONGEST_ID,
        "group": LONGEST_ID,
        "name": "𠮷" * NAME_MAX_CHARS,
        "phone": "9" * PHONE_MAX_CHARS,
    }
    await service.post(*(enrolment(viewer, event_id=viewer, **longest) for viewer in viewers))
    await service.post(*(checkin(viewer, event_id=viewer) for viewer in viewers))
    prizes = {"type": "prize.won", "prize": "𠮷" * ITEM_MAX_CHARS}
    await service.post(*(checkin(viewer, event_id=viewer, **prizes) for viewer in viewers))
    await service.post(*(checkin(viewer, SECOND_LIVE, viewer) for viewer in viewers))
    await service.post(
        *(enrolment(viewer, "2024-06-30T20:00:00+08:00", event_id=viewer[::-1], unit_code="111") for viewer in viewers)
    )
    published = await ledger(service)
    assert {len(payload) <= EVENT_MAX_BYTES for _, _, payload in published} == {True}
    rows: Counter[str] = Counter()
    for event_id, subject, payload in published:
        assert faults(event_id, subject, payload) == []
        rows[subject.split(".")[2]] += len(json.loads(payload).get("viewer_ids", []))
    assert rows == {
        "campaign_defined": 0,
        "viewer_enrolled": 2 * ROWS_MAX,
        "checkin_recorded": 2 * ROWS_MAX,
        "viewer_reassigned": 2 * ROWS_MAX,
        "live_room_actions_recorded": ROWS_MAX,
    }
