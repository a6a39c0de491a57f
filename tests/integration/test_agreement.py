"""What goes beyond the ledgers is found where it happened, and can be put right; what is only behind, erased or restored is not.

The damage is that of a 2xx that was not committed: rows vanish at the service that answered, and the others have acted on them.
"""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.bus.topology import DURABLES, SERVICES
from tests.support.checkin import CAMPAIGN, checkin
from tests.support.deployment import LESSONS, VIEWERS, WholeDeployment, hold_campaign
from tests.support.deployment import stack as stack
from upkeep import agreement, backup, check_agreement, forget
from upkeep.findings import Level
from upkeep.repair import CannotRepair, repair
from upkeep.restore import restore

AGAIN = "2024-06-29T19:50:00+08:00"
LATEST = "(SELECT event_id FROM outbox WHERE subject LIKE '%{}%' ORDER BY event_id DESC LIMIT {})"


async def problems(stack: WholeDeployment) -> dict[tuple[str, str], str]:
    findings = await check_agreement.check(stack.deployment())
    assert findings
    return {(finding.check, finding.subject): finding.text for finding in findings if finding.level is Level.PROBLEM}


async def totals(stack: WholeDeployment) -> object:
    answer = await stack.get("reporting", f"/v1/campaigns/{CAMPAIGN}/totals", by="unit")
    return answer["rows"], answer["sum"]


async def owner(stack: WholeDeployment, service: str, *statements: str) -> None:
    for sql in statements:
        await stack.postgres.execute(sql, role=f"{service}_owner", database=stack.databases[service].name)


async def lose_a_commit_of_checkin(stack: WholeDeployment) -> None:
    """Two viewers came, were answered and counted; then checkin's rows went, as those of a savepoint that nobody committed."""
    before = await stack.rows("checkin", "SELECT * FROM verdict_count ORDER BY 1, 2, 3, 4, 5, 6, 7")
    assert await stack.send(checkin("ks_8001", AGAIN), checkin("ks_8002", AGAIN)) == {"recorded": 2}
    await stack.settle()
    await owner(
        stack,
        "checkin",
        f"DELETE FROM outbox WHERE event_id IN {LATEST.format('checkin_recorded', 1)}",
        "DELETE FROM viewer WHERE viewer_id IN ('ks_8001', 'ks_8002')",
        "UPDATE verdict_count SET n = n - 2 WHERE type = 'viewer.checked_in' AND verdict = 'recorded' "
        f"AND lesson_date = '{LESSONS[0]}' AND slot = (SELECT max(slot) FROM verdict_count "
        f"WHERE type = 'viewer.checked_in' AND verdict = 'recorded' AND lesson_date = '{LESSONS[0]}' AND n > 2)",
    )
    after = await stack.rows("checkin", "SELECT * FROM verdict_count ORDER BY 1, 2, 3, 4, 5, 6, 7")
    assert sum(row[-1] for row in before) == sum(row[-1] for row in after)


async def lose_certificates(stack: WholeDeployment) -> None:
    """The certificates were issued, told and their texts planned; then certificate's rows went."""
    await owner(
        stack,
        "certificate",
        f"DELETE FROM outbox WHERE event_id IN {LATEST.format('certificate_issued', 100)}",
        "DELETE FROM certificate WHERE viewer_id IN ('ks_0002', 'ks_0003', 'ks_0004')",
    )


async def test_a_deployment_in_the_middle_of_a_campaign_agrees(stack: WholeDeployment) -> None:
    """Also while consumers are behind, and whatever is published or delivered again."""
    assert await problems(stack) == {}  # nothing has happened yet
    async with stack.running():
        await hold_campaign(stack)
        assert await problems(stack) == {}
        await stack.nats.stop()
        await stack.send(checkin("ks_7001", AGAIN))
        assert await problems(stack) == {}
        await stack.nats.start()
        await stack.republish()
        await stack.settle()
        assert await problems(stack) == {}


async def test_it_agrees_after_people_were_forgotten(stack: WholeDeployment, tmp_path: Path) -> None:
    async with stack.running():
        await hold_campaign(stack)
        deployment = stack.deployment()
        await forget.viewer(deployment, CAMPAIGN, VIEWERS[0], "t", dry_run=False)
        await stack.settle()
        assert await problems(stack) == {}
        await forget.with_keys(deployment, CAMPAIGN, "t", [tmp_path], dry_run=False)
        await forget.rebuild_stream(deployment)
        await stack.settle()
        assert await problems(stack) == {}


async def test_it_agrees_after_a_backup_taken_under_traffic_was_restored(
    stack: WholeDeployment, tmp_path: Path
) -> None:
    async with stack.running():
        await hold_campaign(stack)
        coming = asyncio.create_task(arrivals(stack))
        taken, _ = await backup.take(stack.deployment(), tmp_path, keep=1)
        await coming
    await stack.new_databases()
    await stack.lose_nats()
    await restore(stack.deployment(), taken)
    assert await problems(stack) == {}
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await problems(stack) == {}


async def arrivals(stack: WholeDeployment) -> None:
    for number in range(20):
        await stack.send(checkin(f"ks_{7100 + number}", AGAIN))


async def test_one_database_restored_to_an_earlier_state_is_found(stack: WholeDeployment, tmp_path: Path) -> None:
    async with stack.running():
        await hold_campaign(stack)
        taken, _ = await backup.take(stack.deployment(), tmp_path, keep=1)
        await stack.send(checkin("ks_7001", AGAIN))
        await stack.settle()
    late = {service: await agreement_of(stack, service, taken) for service in ("reporting", "checkin")}
    assert late["reporting"] == {}  # it is behind, and catches up from the ledgers
    assert set(late["checkin"]) == {("ledger", "reporting-totals"), ("totals", CAMPAIGN)}
    assert late["checkin"]["totals", CAMPAIGN] == f"统计比签到记录的还多：{LESSONS[0]} live 多 1"


async def agreement_of(stack: WholeDeployment, service: str, taken: Path) -> dict[tuple[str, str], str]:
    """With only this database from the backup."""
    from upkeep import dump, manifest

    here = stack.databases[service]
    content = manifest.read(taken).databases[service]
    keep = f"{here.name}_kept"
    await stack.postgres.execute(f'CREATE DATABASE "{keep}" TEMPLATE "{here.name}" OWNER {service}_owner')
    await dump.put_back(service, here.owner_url, taken, content, lambda *_: None)
    findings = await problems(stack)
    await stack.postgres.drop(here.name)
    await stack.postgres.execute(f'ALTER DATABASE "{keep}" RENAME TO "{here.name}"')
    return findings


async def test_events_that_no_ledger_has_and_sums_beyond_the_counts_are_found_and_put_right(
    stack: WholeDeployment,
) -> None:
    async with stack.running():
        await hold_campaign(stack)
        true = await totals(stack)
        await lose_a_commit_of_checkin(stack)
        assert await totals(stack) != true
        findings = await problems(stack)
        assert set(findings) == {("ledger", "reporting-totals"), ("totals", CAMPAIGN)}
        assert "处理过 1 个事件，checkin 的账本里没有" in findings["ledger", "reporting-totals"]
        assert findings["totals", CAMPAIGN] == f"统计比签到记录的还多：{LESSONS[0]} live 多 2"
        with pytest.raises(CannotRepair, match="正在使用"):
            await repair(stack.deployment(), dry_run=False)
        assert await problems(stack) == findings

    done = await repair(stack.deployment(), dry_run=False)
    assert (done.events, done.surplus, done.texts) == ({"reporting-totals": 1}, 2, 0)
    async with stack.running():
        await stack.settle()
        assert await totals(stack) == true
        assert await problems(stack) == {}
        # What was lost comes again from the platform's file, once.
        assert await stack.send(checkin("ks_8001", AGAIN, "again-1"), checkin("ks_8001", AGAIN, "again-2")) == {
            "recorded": 1,
            "duplicate": 1,
        }
        await stack.settle()
        assert await problems(stack) == {}
    assert (await repair(stack.deployment(), dry_run=False)).nothing_wrong


async def test_texts_that_name_no_certificate_are_found_and_not_sent(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        await stack.rows(
            "notification", "UPDATE notification SET status = 'queued' WHERE recipient = 'ks_0003' RETURNING 1"
        )
    await lose_certificates(stack)
    findings = await problems(stack)
    assert set(findings) == {
        ("texts", CAMPAIGN),
        ("ledger", "reporting-certificates-issued"),
        ("ledger", "notification-certificates-issued"),
    }
    async with stack.running():
        ((phones,),) = await stack.rows(
            "notification",
            "SELECT count(*) FROM notification WHERE status IN ('queued', 'accepted', 'delivered') "
            "AND recipient IN ('ks_0002', 'ks_0003', 'ks_0004')",
        )
    assert findings["texts", CAMPAIGN].startswith(f"{phones} 条领证短信写的证书并不存在")
    done = await repair(stack.deployment(), dry_run=False)
    assert done.texts == phones
    assert await problems(stack) == {}
    async with stack.running():
        await stack.settle()
        queued = await stack.rows(
            "notification", "SELECT 1 FROM notification WHERE recipient = 'ks_0003' AND status = 'queued'"
        )
        assert queued == []
        assert await problems(stack) == {}


async def test_the_command_shows_first_and_says_what_it_did(stack: WholeDeployment) -> None:
    shell = CliRunner(env=stack.shell())

    async def run(*arguments: str) -> str:
        done = await asyncio.to_thread(shell.invoke, app, ["repair", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert await run() == "没有要改正的\n"
    async with stack.running():
        await hold_campaign(stack)
        await lose_a_commit_of_checkin(stack)
        shown = json.loads(await run("--json"))
        assert (shown["done"], shown["surplus"], shown["events"]) == (False, 2, {"reporting-totals": 1})
        assert "reporting-totals：1 个事件不在账本里，将不再算处理过" in await run()
        refused = await asyncio.to_thread(shell.invoke, app, ["repair", "--yes"])
        assert (refused.exit_code, "停止所有服务" in refused.output) == (1, True)
    assert "现在启动所有服务" in await run("--yes")
    assert await run() == "没有要改正的\n"


def test_every_subject_has_a_durable_that_remembers_all_of_its_events() -> None:
    """certificate-completions remembers only those with which somebody completed: the same subject needs another."""
    remembered = {
        durable.subject for durable in DURABLES if durable.name not in ("certificate-completions", "checkin-live")
    }
    assert remembered == {durable.subject for durable in DURABLES if durable.stream == "EVENTS"}
    assert {agreement.owner_of(durable) for durable in DURABLES if durable.stream == "EVENTS"} == set(SERVICES)
