"""Who may send: what a platform is to be told, and whether campaigns and the deployment know the same platforms."""

import asyncio
import json
from typing import Any

from typer.testing import CliRunner

from cli.main import app
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN
from tests.support.deployment import WholeDeployment
from tests.support.deployment import stack as stack
from upkeep import check_platforms

PUBLIC = "https://fanzha.example.org"
PLATFORMS = [
    {"source": "kuaishou", "title": "快手"},
    {"source": "other", "title": "别的", "modes": ["live"]},
    {"source": "bus", "title": "总线"},
]


async def run(stack: WholeDeployment, *arguments: str) -> str:
    shell = CliRunner(env=stack.shell(CHECKIN_PUBLIC_URL=PUBLIC))
    done = await asyncio.to_thread(shell.invoke, app, ["platforms", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


async def told(stack: WholeDeployment) -> dict[str, tuple[str, str]]:
    """By source: level and text of what the doctor says."""
    found = await check_platforms.check(stack.deployment())
    return {finding.subject: (str(finding.level), finding.text) for finding in found}


async def test_what_a_platform_is_told_and_what_the_doctor_says(stack: WholeDeployment) -> None:
    sources: dict[str, Any] = json.loads(stack.environment("checkin")["WEBHOOK_SOURCES"])
    assert {level for level, _ in (await told(stack)).values()} == {"ok"}  # no campaign limits anybody
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content(platforms=PLATFORMS))
    rows = {row["source"]: row for row in json.loads(await run(stack, "--json"))["rows"]}
    assert list(rows) == ["bus", "douyin", "kuaishou", "other", "standard"]
    for source, settings in sources.items():
        given = {key: rows[source][key] for key in ("address", "verifier", "secrets")}
        assert given == {"address": f"{PUBLIC}/v1/live/events/{source}", **settings}
    assert rows["kuaishou"]["campaigns"] == [
        {"campaign_id": CAMPAIGN, "title": "快手", "modes": ["live", "replay"]},
    ]
    assert (rows["other"]["address"], rows["other"]["secrets"]) == (None, [])
    text = await run(stack, "--campaign", CAMPAIGN)
    for named in (
        *sources["kuaishou"]["secrets"],
        f"{PUBLIC}/v1/live/events/kuaishou",
        "kwaisign",
        "快手",
        "LIVE_NATS_URL",
    ):
        assert named in text
    assert "fanzha init --add-missing --source other" in text
    assert "douyin" not in text
    found = await told(stack)
    assert {source: level for source, (level, _) in found.items()} == {
        "bus": "ok",
        "douyin": "warning",
        "kuaishou": "ok",
        "other": "warning",
        "standard": "warning",
    }
    assert "没有它的密钥" in found["other"][1]
    assert "没有一个活动" in found["douyin"][1]


async def test_platforms_are_told_before_anything_runs(stack: WholeDeployment) -> None:
    """Sources stand among the secrets; only campaigns are in the database."""
    shell = stack.shell()
    folder = stack.home.root / "secrets"
    owner = folder / "checkin_owner.env"
    owner.write_text("MIGRATION_DATABASE_URL='postgresql://nobody:x@127.0.0.1:1/none'\n")
    done = await asyncio.to_thread(CliRunner(env=shell).invoke, app, ["platforms", "--json"])
    assert [row["source"] for row in json.loads(done.stdout)["rows"]] == ["douyin", "kuaishou", "standard"]
    assert "没有列出活动" in done.stderr
    refused = await asyncio.to_thread(CliRunner(env=shell).invoke, app, ["platforms", "--campaign", CAMPAIGN])
    assert refused.exit_code == 1
