"""`fanzha doctor` on real servers: quiet when all is well, and each thing that we break is named."""

import asyncio
import json
from datetime import datetime

import nats
from typer.testing import CliRunner

from cli.main import app
from shared.bus import topology
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, checkin
from tests.support.deployment import WholeDeployment
from tests.support.deployment import stack as stack
from upkeep import check_databases, check_nats, check_services
from upkeep.deployment import Deployment
from upkeep.findings import Finding, Level

DURING = datetime.fromisoformat("2024-06-29T19:45:00+08:00")


async def problems(deployment: Deployment) -> set[tuple[str, str]]:
    findings: list[Finding] = []
    for check in (check_databases.check, check_nats.check):
        findings += await check(deployment)
    return {
        (finding.check, finding.subject)
        for finding in findings
        if finding.level is Level.PROBLEM
        and not finding.text.startswith("fsync")  # the tests' Postgres does not wait for the disk
    }


async def test_nothing_is_wrong_and_then_this_and_that_is(stack: WholeDeployment) -> None:
    deployment = stack.deployment()
    assert await problems(deployment) == set()

    name = stack.databases["checkin"].name
    await stack.postgres.execute("GRANT CREATE ON SCHEMA public TO checkin_app", role="checkin_owner", database=name)
    await stack.postgres.execute("UPDATE alembic_version SET version_num = '0000'", role="checkin_owner", database=name)
    await stack.postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await stack.postgres.execute(f'GRANT CONNECT ON DATABASE "{name}" TO reporting_app')
    assert await problems(deployment) == {
        ("rights", "checkin"),
        ("schema", "checkin"),
        ("postgres_settings", "checkin"),
    }


async def test_fsync_off_is_seen(stack: WholeDeployment) -> None:
    findings = await check_databases.check(stack.deployment())
    assert sum(finding.text.startswith("fsync = off") for finding in findings) == 4


async def test_events_that_cannot_be_published_and_messages_that_cannot_be_handled(stack: WholeDeployment) -> None:
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
        await stack.settle()
        stack.clock_is(DURING)
        await stack.nats.stop()
        await stack.send(checkin("ks_1"))
        await stack.rows("checkin", "UPDATE outbox_pending SET since = since - interval '2 minutes' RETURNING 1")
        await stack.rows(
            "reporting",
            "INSERT INTO dead_letter (durable, subject, stream_seq, reason, message_key) "
            "VALUES ('d', 's', 1, 'r', 's 1 9') RETURNING 1",
        )
        findings = await problems(stack.deployment())
    assert findings == {("outbox", "checkin"), ("dead_letters", "reporting"), ("nats", "NATS")}


async def test_a_stream_and_a_durable_that_are_gone(stack: WholeDeployment) -> None:
    client = await nats.connect(stack.nats.url("topology"), inbox_prefix=topology.inbox_prefix("topology"))
    await client.jetstream().delete_stream("LIVE")
    await client.jetstream().delete_consumer("EVENTS", "reporting-totals")
    await client.close()
    assert await problems(stack.deployment()) == {("topology", "LIVE"), ("topology", "reporting-totals")}


async def test_a_database_that_cannot_be_reached_does_not_hide_the_others(stack: WholeDeployment) -> None:
    deployment = stack.deployment()
    url = deployment.databases["certificate"].replace("pw_", "wrong_")
    broken = Deployment(dict(deployment.databases) | {"certificate": url}, nats_monitoring=deployment.nats_monitoring)
    assert await problems(broken) == {("database", "certificate")}


async def test_services_that_do_not_answer_are_named() -> None:
    findings = await check_services.check(Deployment({}, services={"checkin": "http://127.0.0.1:1"}))
    levels = {(finding.subject, finding.level) for finding in findings}
    assert ("checkin", Level.PROBLEM) in levels
    assert ("reporting", Level.WARNING) in levels


async def test_the_command_ends_with_1_and_says_json(stack: WholeDeployment) -> None:
    shell = stack.shell()
    done = await asyncio.to_thread(CliRunner(env=shell).invoke, app, ["doctor", "--json"])
    assert done.exit_code == 1, done.output
    findings = json.loads(done.stdout)
    assert {"check", "subject", "level", "text", "remedy"} == set(findings[0])
    told = await asyncio.to_thread(CliRunner(env=shell).invoke, app, ["doctor"])
    assert "fsync = off" in told.stdout
    assert "→" in told.stdout
