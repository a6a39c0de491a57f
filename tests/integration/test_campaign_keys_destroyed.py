"""`fanzha erase campaign --destroy-keys`: with everything that is left nobody reads a name or phone of the campaign again: not in
the databases, not in the stream, not in a backup made before. Another campaign's can be read, and every number is as before."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import erase_commands
from shared.database import Transaction
from shared.ids import new_event_id
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, enrolment
from tests.support.deployment import VIEWERS, WholeDeployment, hold_campaign
from tests.support.deployment import stack as stack
from tests.support.opening import Intruder, Read
from upkeep import backup, campaign_keys, dump, forget, manifest
from upkeep.dump import CannotRestore
from upkeep.restore import restore

OTHER = "other-2024"
ACTOR = "李主任，活动结束"
PERSON = VIEWERS[0]  # enrolled with name and phone, completed, claimed
NAME, PHONE = "观众01", "13800000001"
OTHER_NAME, OTHER_PHONE = "旁观者", "13911112222"


async def hold_two_campaigns(stack: WholeDeployment) -> None:
    """Both defined, and their keys everywhere, before anybody enrols."""
    for campaign_id in (CAMPAIGN, OTHER):
        await stack.put("checkin", f"/v1/campaigns/{campaign_id}", campaign_content(campaign_id=campaign_id))
    await stack.settle()
    await hold_campaign(stack)
    other = enrolment("ot_1", campaign_id=OTHER, name=OTHER_NAME, phone=OTHER_PHONE)
    assert await stack.send(other) == {"recorded": 1}
    await stack.settle()


async def totals(stack: WholeDeployment) -> list[Any]:
    return [
        await stack.get("reporting", f"/v1/campaigns/{CAMPAIGN}/totals", by=by) | {"as_of": None}
        for by in ("unit", "county", "group", "lesson", "mode")
    ]


async def parked(stack: WholeDeployment) -> int:
    counts = [(await stack.rows(service, "SELECT count(*) FROM dead_letter"))[0][0] for service in stack.databases]
    return sum(counts)


async def contacts(stack: WholeDeployment, campaign_id: str) -> dict[str, int]:
    """How many names and phones the recipients keep."""
    readable = {}
    for service, sql in {
        "certificate": "SELECT (SELECT count(*) FROM contact WHERE campaign_id = $1) "
        "+ (SELECT count(*) FROM certificate WHERE campaign_id = $1 AND name IS NOT NULL)",
        "notification": "SELECT count(*) FROM contact WHERE campaign_id = $1 AND phone IS NOT NULL",
    }.items():
        ((readable[service],),) = await stack.rows(service, sql, campaign_id)
    return readable


def of(campaign_id: str, read: Read) -> set[str]:
    return {text for campaign, text in read if campaign == campaign_id}


async def destroy(stack: WholeDeployment, *backups: Path, dry_run: bool = False) -> forget.Counts:
    return await forget.with_keys(stack.deployment(), CAMPAIGN, ACTOR, backups, dry_run=dry_run)


async def test_what_was_readable_everywhere_is_readable_nowhere(stack: WholeDeployment, tmp_path: Path) -> None:
    intruder, backups = Intruder(stack), tmp_path / "backups"
    async with stack.running():
        await hold_two_campaigns(stack)
        taken, _ = await backup.take(stack.deployment(), backups, keep=3)
        before = await totals(stack)
        for read in (await intruder.databases(), await intruder.stream(), await intruder.backup(taken)):
            assert {NAME, PHONE} <= of(CAMPAIGN, read)
            assert {OTHER_NAME, OTHER_PHONE} <= of(OTHER, read)

        planned = await destroy(stack, backups, dry_run=True)
        assert {NAME, PHONE} <= of(CAMPAIGN, await intruder.databases()), "a dry run changes nothing"
        assert {NAME, PHONE} <= of(CAMPAIGN, await intruder.backup(taken))
        done = await destroy(stack, backups)
        done["certificate"].pop("rendered")
        assert done == planned
        assert {service: counts.get("campaign_key") for service, counts in done.items()} == {
            "checkin": 2,
            "certificate": 2,
            "reporting": 1,
            "notification": 1,
        }
        assert (done["certificate"]["backup_key"], done["notification"]["backup_key"]) == (1, 1)
        assert sum(counts["deployment_key"] for counts in done.values()) == 0
        await forget.rebuild_stream(stack.deployment())
        await stack.settle()
        for read in (await intruder.databases(), await intruder.stream(), await intruder.backup(taken)):
            assert of(CAMPAIGN, read) == set()
            assert {OTHER_NAME, OTHER_PHONE} <= of(OTHER, read)
        assert await totals(stack) == before
        certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}")
        assert (certificate["status"], certificate["claimed_at"] is not None) == ("valid", True)

        again = await destroy(stack, backups)
        assert not any(number for counts in again.values() for number in counts.values())
    sums = await asyncio.create_subprocess_exec("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=taken)
    assert await sums.wait() == 0
    records = await forget.log(stack.deployment(), 10)
    assert {(record["service"], record["kind"], record["actor"]) for record in records} == {
        (service, "campaign", ACTOR) for service in ("checkin", "certificate", "reporting", "notification")
    }


async def test_whoever_enrols_afterwards_is_counted_and_nobody_learns_more(stack: WholeDeployment) -> None:
    """What was published before and is delivered after it, too: not opened, not parked, no harm."""
    async with stack.running():
        await hold_two_campaigns(stack)
        ((sealed,),) = await stack.rows(
            "checkin",
            "SELECT payload FROM outbox WHERE campaign_id = $1 AND subject LIKE '%.viewer_enrolled.%'",
            CAMPAIGN,
        )
        await destroy(stack)
        late = json.dumps(json.loads(sealed) | {"event_id": str(new_event_id())}).encode()
        for service in ("certificate", "notification"):
            await stack.services[service].deliver_bodies(f"{service}-contacts", late)
        new = enrolment("ks_late", unit_code="111", name="迟到者", phone="13700000009")
        assert await stack.send(new) == {"recorded": 1}
        assert await stack.send(enrolment("ot_2", campaign_id=OTHER, name="后来者", phone="13700000008")) == {
            "recorded": 1
        }
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content(title="改名"))
        await stack.settle()
        ((event,),) = await stack.rows(
            "checkin", "SELECT payload FROM outbox WHERE position('ks_late'::bytea IN payload) > 0"
        )
        assert json.loads(event)["contacts"] is None
        assert await contacts(stack, CAMPAIGN) == {"certificate": 0, "notification": 0}
        assert await contacts(stack, OTHER) == {"certificate": 4, "notification": 2}
        assert await parked(stack) == 0
        assert of(CAMPAIGN, await Intruder(stack).databases()) == set()
        path = f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}"
        renamed = await stack.post("certificate", f"{path}/reissue", {"name": "新名字", "reason": "更正"})
        assert (renamed.status_code, renamed.json()["type"].rpartition("/")[2]) == (409, "campaign-erased")


async def test_a_backup_from_before_is_restored_without_the_people(stack: WholeDeployment, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    async with stack.running():
        await hold_two_campaigns(stack)
        before, others = await totals(stack), await contacts(stack, OTHER)
        taken, _ = await backup.take(stack.deployment(), backups, keep=3)
        await destroy(stack, backups)
    await stack.new_databases()
    await stack.lose_nats()
    await restore(stack.deployment(), taken)
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await totals(stack) == before
        assert await contacts(stack, CAMPAIGN) == {"certificate": 0, "notification": 0}
        assert await contacts(stack, OTHER) == others
        assert await stack.send(enrolment("ks_late", name="迟到者", phone="13700000009")) == {"recorded": 1}
        await stack.settle()
        assert await contacts(stack, CAMPAIGN) == {"certificate": 0, "notification": 0}
        assert await parked(stack) == 0
        read = await Intruder(stack).databases()
        assert (of(CAMPAIGN, read), {OTHER_NAME, OTHER_PHONE} <= of(OTHER, read)) == (set(), True)
        certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{PERSON}")
        page = await stack.services["certificate"].client.get(f"/v/{certificate['code']}")
        verdict = await stack.post("certificate", "/v1/verify", {"serial": certificate["serial"]})
        assert (page.status_code, verdict.json()["genuine"]) == (200, True)


async def test_keys_come_back_with_a_backup(stack: WholeDeployment, tmp_path: Path) -> None:
    """Opened with them: what was kept before, what is in the ledger, and what is sealed from now on."""
    async with stack.running():
        await hold_two_campaigns(stack)
        before = await Intruder(stack).databases()
        taken, _ = await backup.take(stack.deployment(), tmp_path / "backups", keep=3)
    await stack.new_databases()
    await stack.lose_nats()
    await restore(stack.deployment(), taken)
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await Intruder(stack).databases() == before
        assert await stack.send(enrolment("ks_late", name="迟到者", phone="13700000009")) == {"recorded": 1}
        await stack.settle()
        assert {"迟到者", "13700000009", "0009"} <= of(CAMPAIGN, await Intruder(stack).databases())
        assert await parked(stack) == 0


async def test_a_copy_without_keys_is_whole_and_asks_for_them(stack: WholeDeployment, tmp_path: Path) -> None:
    async with stack.running():
        await hold_two_campaigns(stack)
    taken, _ = await backup.take(stack.deployment(), tmp_path / "backups", keep=3)
    for service in campaign_keys.RECIPIENTS:  # no key hides in a table's dump
        kept = {key["campaign_id"]: key["private_key"] for key in map(_json, (taken / "keys" / service).iterdir())}
        assert kept.keys() == {CAMPAIGN, OTHER}
        dumped = next(table for table in manifest.read(taken).databases[service].tables if table.name == "campaign_key")
        assert "private_key" not in dumped.columns
    shutil.rmtree(taken / "keys")
    assert of(CAMPAIGN, await Intruder(stack).backup(taken)) >= {NAME, PHONE}, "the databases still have the keys"
    await stack.new_databases()
    assert await Intruder(stack).backup(taken) == set()
    with pytest.raises(CannotRestore, match=f"keys/certificate/{CAMPAIGN}.json"):
        await restore(stack.deployment(), taken)
    await restore(stack.deployment(), taken, other_keys=True)
    async with stack.running():
        assert await contacts(stack, CAMPAIGN) == {"certificate": 0, "notification": 0}


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


async def test_a_key_made_while_the_backup_was_taken_is_announced_after_a_restore(
    stack: WholeDeployment, tmp_path: Path
) -> None:
    """Its row and announcement are in no dump, and checkin may have sealed to it already."""
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
        await stack.settle()
    await campaign_keys.write(stack.deployment().databases, tmp_path / "keys")
    connection = await dump.connect(stack.databases["notification"].owner_url)
    key = await connection.fetchrow("SELECT * FROM campaign_key")
    ledger = await connection.fetch("SELECT subject, campaign_id FROM outbox")
    await connection.execute("TRUNCATE campaign_key, outbox, outbox_pending")
    for _ in range(2):
        assert await campaign_keys.put_back(Transaction(connection), "notification", tmp_path) == set()
        assert await connection.fetch("SELECT * FROM campaign_key") == [key]
        assert await connection.fetch("SELECT subject, campaign_id FROM outbox") == ledger
    await connection.close()


async def test_what_was_sealed_before_there_was_a_key_is_told(stack: WholeDeployment, tmp_path: Path) -> None:
    """An old backup still opens that: whoever erases must know, and replace the backups."""
    async with stack.running():
        await hold_two_campaigns(stack)
        await stack.postgres.execute(  # as if the keys came too late for the enrolment
            "DELETE FROM campaign_key", role="checkin_owner", database=stack.databases["checkin"].name
        )
        assert await stack.send(enrolment("ks_early", name="早到者", phone="13700000007")) == {"recorded": 1}
        await stack.settle()
        done = await destroy(stack)
    assert done["checkin"]["deployment_key"] == 1
    assert (done["certificate"]["deployment_key"], done["notification"]["deployment_key"]) == (0, 0)


# ---- the command -----------------------------------------------------------------------------------------------------


async def test_the_command_shows_first_and_reaches_every_folder_named(stack: WholeDeployment, tmp_path: Path) -> None:
    here, there = tmp_path / "backups", tmp_path / "copies"
    shell = CliRunner(env=stack.shell(BACKUP_DIR=str(here)))

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(shell.invoke, erase_commands.app, arguments)

    async with stack.running():
        await hold_two_campaigns(stack)
    taken, _ = await backup.take(stack.deployment(), here, keep=3)
    shutil.copytree(here, there)
    held = (taken, there / taken.name)
    assert len(campaign_keys.holding(held, CAMPAIGN)) == 4

    shown = await run("campaign", CAMPAIGN, "--destroy-keys")
    assert (shown.exit_code, "将要删除（没有动）" in shown.output, "备份里的活动密钥 1" in shown.output) == (
        0,
        True,
        True,
    )
    assert len(campaign_keys.holding(held, CAMPAIGN)) == 4
    unknown = await run("campaign", "nobody-2024", "--destroy-keys", "--yes", "--by", ACTOR)
    assert (unknown.exit_code, "没有活动 nobody-2024" in unknown.output) == (1, True)
    lacking = await run(
        "campaign", CAMPAIGN, "--destroy-keys", "--backups", str(tmp_path / "no"), "--yes", "--by", ACTOR
    )
    assert (lacking.exit_code, "没有目录" in lacking.output) == (1, True)

    done = await run("campaign", CAMPAIGN, "--destroy-keys", "--yes", "--by", ACTOR)
    assert (done.exit_code, "以前的备份里也读不出了" in done.output) == (0, True), done.output
    assert campaign_keys.holding(held, CAMPAIGN) == campaign_keys.holding([there / taken.name], CAMPAIGN)
    copies = await run("campaign", CAMPAIGN, "--destroy-keys", "--backups", str(there), "--yes", "--by", ACTOR)
    assert copies.exit_code == 0, copies.output
    assert campaign_keys.holding(held, CAMPAIGN) == []
    assert len(campaign_keys.holding(held, OTHER)) == 4
    records = json.loads((await run("log", "--json")).stdout)
    assert {"campaign_key", "backup_key"} <= next(record for record in records if record["service"] == "notification")[
        "counts"
    ].keys()


async def test_no_backup_is_made_meanwhile(stack: WholeDeployment, tmp_path: Path) -> None:
    """It would bring the keys back."""
    async with stack.running():
        await hold_two_campaigns(stack)
    with backup.only_one(tmp_path), pytest.raises(backup.BackupFailed):
        await destroy(stack, tmp_path)
    assert {NAME, PHONE} <= of(CAMPAIGN, await Intruder(stack).databases())
