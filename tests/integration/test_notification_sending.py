"""From facts to texts, on a real Postgres: order of arrival, send windows, faults of the channel, crashes between two steps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from services.notification.channels.domain import Outcome, Reference, Report
from services.notification.channels.file import FileChannel
from services.notification.sending import store, usecases
from services.notification.sending.usecases import ChannelFailed
from shared.database import Database, Transaction
from shared.failures import Poison
from tests.support.campaigns import campaign
from tests.support.databases import DatabaseFactory
from tests.support.notification import (
    CAMPAIGN,
    CLAIM_PAGE,
    NOON,
    FakeProvider,
    NotificationWork,
    claim_code,
    defined,
    empty,
    enrolled,
    issued,
    new_secrets,
    notifications,
    revoked,
    rules,
    statuses,
)
from tests.support.servers import RunningPostgres

ANNA, BO, CHEN = "ks_000001", "ks_000002", "ks_000003"
A1, A2, B1, C1 = "AAAA-AAAA-AAA1", "AAAA-AAAA-AAA2", "BBBB-BBBB-BBB1", "CCCC-CCCC-CCC1"
ANNAS_PHONE, BOS_PHONE = "13800000001", "13800000002"


class Parts(NotificationWork):
    """Notification's work over a fake provider."""

    def __init__(self, db: Database) -> None:
        self.provider = FakeProvider()
        super().__init__(db, {"file": self.provider})


@pytest.fixture
async def parts(database: DatabaseFactory) -> AsyncIterator[Parts]:
    db = Database((await database("notification")).url)
    yield Parts(db)
    await db.close()


async def ready(parts: Parts) -> None:
    """Anna and Bo have certificates and phones; the texts are planned and not sent."""
    await parts.deliver(defined(), enrolled((ANNA, ANNAS_PHONE), (BO, BOS_PHONE)), issued((ANNA, A1), (BO, B1)))
    await parts.plan(NOON)


def texts_by_phone(provider: FakeProvider) -> list[tuple[str, str]]:
    return sorted((message.to, message.text) for message in provider.arrived)


# --- the ordinary way -------------------------------------------------------------------------------------------------


async def test_every_holder_of_a_certificate_gets_one_text_with_the_claim_code(parts: Parts) -> None:
    await ready(parts)
    await parts.run_all(NOON)
    assert texts_by_phone(parts.provider) == [
        (ANNAS_PHONE, f"您的证书 {A1} 领取码 {claim_code(A1)}，请打开 {CLAIM_PAGE} 领取，咨询请拨打 96110。"),
        (BOS_PHONE, f"您的证书 {B1} 领取码 {claim_code(B1)}，请打开 {CLAIM_PAGE} 领取，咨询请拨打 96110。"),
    ]
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}
    await parts.run_all(NOON + timedelta(days=1))
    assert len(parts.provider.arrived) == 2


async def test_the_file_channel_writes_one_private_file_per_text(parts: Parts, tmp_path: Path) -> None:
    into_files = NotificationWork(parts.db, {"file": FileChannel(tmp_path)})
    await ready(parts)
    await into_files.run_all(NOON)
    rows = await notifications(parts.db)
    assert await statuses(parts.db) == {A1: ("delivered", None), B1: ("delivered", None)}
    folder = tmp_path / CAMPAIGN / "certificate_ready"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{row['id']}.txt" for row in rows.values())
    file = folder / f"{rows[A1]['id']}.txt"
    assert (
        file.read_text()
        == f"To: {ANNAS_PHONE}\n\n您的证书 {A1} 领取码 {claim_code(A1)}，请打开 {CLAIM_PAGE} 领取，咨询请拨打 96110。\n"
    )
    assert file.stat().st_mode & 0o077 == 0


async def test_the_file_channel_stays_in_its_folder(tmp_path: Path) -> None:
    channel = FileChannel(tmp_path / "messages")
    outside = Reference("..", "certificate_ready", UUID(int=1))
    (tmp_path / "certificate_ready").mkdir()
    (tmp_path / "certificate_ready" / f"{UUID(int=1)}.txt").touch()
    assert await channel.query([outside]) == {UUID(int=1): Outcome(Report.NOT_SENT)}


async def test_more_than_one_batch_is_sent(parts: Parts) -> None:
    viewers = [f"ks_{n:06}" for n in range(usecases.BATCH_MAX + 50)]
    await parts.deliver(defined(), enrolled(*((viewer, f"139{n:08}") for n, viewer in enumerate(viewers))))
    await parts.deliver(issued(*((viewer, f"S-{n}") for n, viewer in enumerate(viewers))))
    await parts.run_all(NOON)
    assert len(parts.provider.arrived) == len({message.to for message in parts.provider.arrived}) == len(viewers)


# --- order of arrival -------------------------------------------------------------------------------------------------


async def test_a_definition_that_comes_last_plans_what_was_waiting(parts: Parts) -> None:
    await parts.deliver(enrolled((ANNA, ANNAS_PHONE)), issued((ANNA, A1)))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {}
    await parts.deliver(defined())
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("accepted", None)}


async def test_a_text_waits_for_its_contact(parts: Parts) -> None:
    await parts.deliver(defined(), issued((ANNA, A1)), enrolled((ANNA, None)))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("queued", "no_contact")}
    await parts.deliver(enrolled((ANNA, ANNAS_PHONE)))
    await parts.run_all(NOON + timedelta(days=1))
    assert [message.to for message in parts.provider.arrived] == [ANNAS_PHONE]


async def test_without_contact_it_is_suppressed_in_the_end(parts: Parts) -> None:
    await parts.deliver(defined(), issued((ANNA, A1)))
    await parts.run_all(NOON + timedelta(days=7) - timedelta(seconds=1))
    assert await statuses(parts.db) == {A1: ("queued", "no_contact")}
    await parts.run_all(NOON + timedelta(days=7))
    assert await statuses(parts.db) == {A1: ("suppressed", "no_contact")}
    await parts.deliver(enrolled((ANNA, ANNAS_PHONE)))
    await parts.run_all(NOON + timedelta(days=8))
    assert await statuses(parts.db) == {A1: ("suppressed", "no_contact")}
    assert parts.provider.arrived == []


async def test_the_latest_phone_counts_and_an_enrolment_without_one_takes_nothing_back(parts: Parts) -> None:
    day = timedelta(days=1)
    await parts.deliver(
        defined(),
        enrolled((ANNA, BOS_PHONE), at=NOON - 3 * day),
        enrolled((ANNA, None), at=NOON - day),
        enrolled((ANNA, "没有"), at=NOON - day),
        enrolled((ANNA, ANNAS_PHONE), at=NOON - 2 * day),
        issued((ANNA, A1)),
    )
    await parts.run_all(NOON)
    assert [message.to for message in parts.provider.arrived] == [ANNAS_PHONE]


@pytest.mark.parametrize("revocation_first", [True, False])
async def test_a_revoked_certificate_is_not_texted(parts: Parts, revocation_first: bool) -> None:
    facts = [revoked((ANNA, A1)), issued((ANNA, A1))]
    await parts.deliver(defined(), enrolled((ANNA, ANNAS_PHONE)), *(facts if revocation_first else facts[::-1]))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("cancelled", "revoked")}
    assert parts.provider.arrived == []


async def test_a_planned_text_is_not_sent_after_the_revocation_even_before_it_is_planned_again(parts: Parts) -> None:
    await ready(parts)
    await parts.deliver(revoked((ANNA, A1)))
    await parts.send(NOON)
    assert [message.to for message in parts.provider.arrived] == [BOS_PHONE]


async def test_texts_that_must_not_be_sent_hold_up_none_behind_them(parts: Parts) -> None:
    """The first messages due are a whole batch whose certificates are revoked, and which were not planned again yet."""
    viewers = [f"ks_{n:06}" for n in range(10, usecases.BATCH_MAX + 10)]
    certificates = [(viewer, f"S-{viewer}") for viewer in viewers]
    await parts.deliver(defined(), enrolled((ANNA, ANNAS_PHONE), *((viewer, BOS_PHONE) for viewer in viewers)))
    await parts.deliver(issued(*certificates, at=NOON - timedelta(hours=1)), issued((ANNA, A1)))
    await parts.plan_all(NOON)
    await parts.deliver(revoked(*certificates))
    assert await parts.send(NOON) == 1
    assert [message.to for message in parts.provider.arrived] == [ANNAS_PHONE]


async def test_a_revocation_does_not_undo_what_was_sent_and_a_reissue_is_texted_again(parts: Parts) -> None:
    await ready(parts)
    await parts.run_all(NOON)
    await parts.deliver(revoked((ANNA, A1)), issued((ANNA, A2)))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("accepted", None), A2: ("accepted", None), B1: ("accepted", None)}
    assert claim_code(A2) in parts.provider.arrived[-1].text


# --- rules ------------------------------------------------------------------------------------------------------------


async def test_a_campaign_without_a_rule_sends_nothing_until_it_has_one(parts: Parts) -> None:
    await parts.deliver(defined(1, campaign(messages=[])), enrolled((ANNA, ANNAS_PHONE)), issued((ANNA, A1)))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {}
    await parts.deliver(defined(2))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("accepted", None)}


async def test_a_changed_definition_changes_what_was_not_sent(parts: Parts) -> None:
    await parts.deliver(defined(1, rules(send_window={"from": "20:00", "to": "22:00"})))
    await parts.deliver(enrolled((ANNA, ANNAS_PHONE)), issued((ANNA, A1)))
    await parts.run_all(NOON)
    assert (await notifications(parts.db))[A1]["due_at"] == NOON + timedelta(hours=8)
    await parts.deliver(defined(2, campaign(messages=[])))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {}
    await parts.deliver(defined(3, rules(template="96110 提醒您：证书 {serial} 已签发")))
    await parts.run_all(NOON)
    assert texts_by_phone(parts.provider) == [(ANNAS_PHONE, f"96110 提醒您：证书 {A1} 已签发")]
    await parts.deliver(defined(4, campaign(messages=[])))
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("accepted", None)}


async def test_what_is_left_over_at_night_waits_for_the_morning(parts: Parts) -> None:
    await parts.deliver(defined(1, rules(send_window={"from": "08:00", "to": "22:00"})))
    await parts.deliver(issued((ANNA, A1)), enrolled((ANNA, ANNAS_PHONE)))
    await parts.run_all(NOON + timedelta(hours=10))
    assert await statuses(parts.db) == {A1: ("queued", None)}
    await parts.run_all(NOON + timedelta(hours=20))
    assert await statuses(parts.db) == {A1: ("accepted", None)}


# --- faults of the channel --------------------------------------------------------------------------------------------


async def fail_and_go_on(parts: Parts) -> None:
    with pytest.raises(ChannelFailed):
        await parts.send(NOON)
    assert {status for status, _ in (await statuses(parts.db)).values()} == {"sending"}
    await parts.run_all(NOON)


@pytest.mark.parametrize("trouble", ["before", "half", "after"])
async def test_a_time_out_is_resolved_by_a_query_and_never_by_a_blind_resend(parts: Parts, trouble: str) -> None:
    await ready(parts)
    parts.provider.trouble = [trouble]
    await fail_and_go_on(parts)
    assert [to for to, _ in texts_by_phone(parts.provider)] == [ANNAS_PHONE, BOS_PHONE]
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}


async def test_what_nobody_knows_stays_unknown_and_is_asked_again_later(parts: Parts) -> None:
    await ready(parts)
    parts.provider.trouble, parts.provider.blind = ["after"], True
    await fail_and_go_on(parts)
    assert await statuses(parts.db) == {A1: ("unknown", None), B1: ("unknown", None)}
    parts.provider.blind = False
    await parts.run_all(NOON + timedelta(seconds=59))
    assert await statuses(parts.db) == {A1: ("unknown", None), B1: ("unknown", None)}
    await parts.run_all(NOON + timedelta(seconds=60))
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}
    assert len(parts.provider.arrived) == 2


async def test_a_refusal_is_final_and_says_why(parts: Parts) -> None:
    await ready(parts)
    anna = (await notifications(parts.db))[A1]["id"]
    parts.provider.answers[anna] = Outcome(Report.FAILED, "dead_number")
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("failed", "dead_number"), B1: ("accepted", None)}


async def test_a_provider_that_takes_nothing_is_tried_at_growing_intervals(parts: Parts) -> None:
    await ready(parts)
    for row in (await notifications(parts.db)).values():
        parts.provider.answers[row["id"]] = Outcome(Report.NOT_SENT)
    await parts.run_all(NOON)
    rows = await notifications(parts.db)
    assert {(row["attempts"], row["due_at"]) for row in rows.values()} == {(4, NOON + timedelta(seconds=60))}
    await parts.deliver(defined(2))
    await parts.run_all(NOON)
    assert {row["attempts"] for row in (await notifications(parts.db)).values()} == {4}
    parts.provider.answers.clear()
    await parts.run_all(NOON + timedelta(seconds=60))
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}


async def test_what_certainly_was_not_sent_follows_its_cause_again(parts: Parts) -> None:
    await ready(parts)
    parts.provider.trouble = ["before"]
    with pytest.raises(ChannelFailed):
        await parts.send(NOON)
    await parts.deliver(revoked((ANNA, A1)))
    await parts.plan(NOON)
    assert (await statuses(parts.db))[A1] == ("sending", None)
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("cancelled", "revoked"), B1: ("accepted", None)}


async def test_a_final_receipt_holds_whatever_is_reported_afterwards(parts: Parts) -> None:
    await ready(parts)
    await parts.run_all(NOON)
    anna = (await notifications(parts.db))[A1]
    for report in (Report.DELIVERED, Report.ACCEPTED, Report.FAILED, Report.NOT_SENT, Report.UNKNOWN):
        async with parts.db.transaction() as tx:
            await usecases.record(tx, {anna["id"]: Outcome(report)}, {anna["id"]: anna["attempt"]}, NOON)
    assert (await statuses(parts.db))[A1] == ("delivered", None)


async def test_a_report_about_an_earlier_attempt_comes_too_late(parts: Parts) -> None:
    await ready(parts)
    await parts.run_all(NOON)
    anna = (await notifications(parts.db))[A1]
    async with parts.db.transaction() as tx:
        await usecases.record(tx, {anna["id"]: Outcome(Report.FAILED)}, {anna["id"]: anna["attempt"] - 1}, NOON)
    assert (await statuses(parts.db))[A1] == ("accepted", None)


# --- crashes ----------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone. A BaseException, so that no `except Exception` catches it."""


class CrashingDatabase(Database):
    """Raises `Crash` at step number `steps_left` from now. A step is the beginning or the commit of a transaction."""

    steps_left = -1  # it never crashes

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self._step()
        async with super().transaction() as tx:
            yield tx
            self._step()

    def _step(self) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            raise Crash


@pytest.mark.parametrize("channel", ["provider", "file"])
async def test_a_crash_between_any_two_steps_sends_every_text_exactly_once(
    database: DatabaseFactory, postgres: RunningPostgres, tmp_path: Path, channel: str
) -> None:
    db = CrashingDatabase((await database("notification")).url)
    for step in range(1, 200):
        provider, folder = FakeProvider(), tmp_path / str(step)
        work = NotificationWork(db, {"file": provider if channel == "provider" else FileChannel(folder)})
        await work.deliver(defined(), enrolled((ANNA, ANNAS_PHONE), (BO, BOS_PHONE)), issued((ANNA, A1), (BO, B1)))
        db.steps_left = step
        with suppress(Crash):
            await work.run_all(NOON)
        crashed = db.steps_left <= 0
        db.steps_left = -1
        await work.run_all(NOON)
        sent = "accepted" if channel == "provider" else "delivered"
        assert await statuses(db) == {A1: (sent, None), B1: (sent, None)}, f"step {step}"
        assert len(provider.arrived) + len(list(folder.rglob("*.txt"))) == 2, f"step {step}"
        if not crashed:
            break
        await empty(db, postgres)
    assert step > 15
    await db.close()


async def test_a_living_senders_messages_are_left_alone(parts: Parts) -> None:
    """One replica is calling its channel while another one looks for messages whose sender has crashed."""
    await ready(parts)
    async with store.attempt(parts.db) as attempt:
        async with parts.db.transaction() as tx:
            await usecases.claim(
                tx,
                new_secrets(),
                rules(),
                "certificate_ready",
                "file",
                claim_page=CLAIM_PAGE,
                attempt=attempt,
                now=NOON,
            )
        await parts.run_all(NOON)
        assert await statuses(parts.db) == {A1: ("sending", None), B1: ("sending", None)}
        assert parts.provider.arrived == []
    await parts.run_all(NOON)
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}


# --- bad input, retention ---------------------------------------------------------------------------------------------


async def test_what_cannot_be_opened_is_poison_and_leaves_nothing(parts: Parts) -> None:
    column = enrolled((ANNA, ANNAS_PHONE)).contacts
    assert column is not None
    others = enrolled((BO, BOS_PHONE)).model_copy(update={"contacts": column})
    for event in (
        others,  # sealed contacts of another viewer
        others.model_copy(update={"contacts": column.model_copy(update={"keys": {}})}),
        issued((ANNA, A1)).model_copy(update={"claim_codes": enrolled((ANNA, ANNAS_PHONE)).contacts}),
        defined().model_copy(update={"rules": {"campaign_id": CAMPAIGN}}),
    ):
        with pytest.raises(Poison) as caught:
            await parts.deliver(event)
        assert ANNAS_PHONE not in str(caught.value)
    async with parts.db.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM inbox") == 0


async def test_phones_and_claim_codes_are_forgotten_when_their_time_is_over(parts: Parts) -> None:
    await ready(parts)
    await parts.run_all(NOON)
    end = NOON + timedelta(days=181)
    await parts.run_all(NOON + timedelta(days=168))  # kept for 180 days after the certificate was issued
    async with parts.db.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM contact WHERE phone IS NOT NULL") == 2
    await parts.run_all(end)
    async with parts.db.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM contact WHERE phone IS NOT NULL OR phone_hash IS NOT NULL") == 0
        assert await tx.fetchval("SELECT count(*) FROM certificate WHERE claim_code IS NOT NULL") == 0
    assert await statuses(parts.db) == {A1: ("accepted", None), B1: ("accepted", None)}


@pytest.mark.parametrize("late", [True, False])
async def test_the_campaign_says_how_long_phones_are_kept(parts: Parts, late: bool) -> None:
    """`late`: the definition comes after the enrolment and the certificate."""
    facts = [enrolled((ANNA, ANNAS_PHONE)), issued((ANNA, A1))]
    definition = defined(content=campaign(retain_days=30))
    await parts.deliver(*([*facts, definition] if late else [definition, *facts]))
    for days, phones in ((29, 1), (31, 0)):  # after the certificate was issued, which was after the last lesson
        await parts.run_all(NOON + timedelta(days=days))
        async with parts.db.transaction() as tx:
            assert await tx.fetchval("SELECT count(*) FROM contact WHERE phone IS NOT NULL") == phones
