"""`fanzha demo`: a fresh dev stack, sixteen days of traffic, every number compared (DESIGN §8)."""

import asyncio
import json
import shutil
import time
from contextlib import nullcontext
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.campaign_file import load
from demo.campaign import Campaign, read
from demo.pause import PAUSE_S, standing_still
from demo.player import GaveUp, player_of
from demo.reports import Doors
from demo.run import Outcome, Run
from demo.traffic import EARLY, MOMENTS, Traffic
from devstack import main as devstack
from devstack.home import REPOSITORY, Home, StackError, read_env
from devstack.ports import busy, kept
from shared.bus.topology import SERVICES

CAMPAIGN = REPOSITORY / "campaigns" / "jinshan-2024.yaml"
LISTED_MAX = 200
PAUSED_LESSON = 4  # Postgres stands still for some seconds on this lesson's evening
MARK = "demo.json"  # marks a home as the demo's, which the demo may make anew


def demo(home: Home, console: Console, *, viewers: int, seed: int, keep: bool, ports: str = "") -> bool:
    """Runs the whole demo; returns whether everything agreed. Raises `StackError` where the stack does not start."""
    began = time.monotonic()
    campaign = read(CAMPAIGN)
    traffic = Traffic(campaign, viewers, seed)
    start(home, console, campaign, ports=ports)
    try:
        outcome, doors = asyncio.run(_run(home, console, traffic, seed))
    except GaveUp as error:
        console.print(f"[red]the demo could not be finished:[/] {error}", soft_wrap=True)
        return False
    finally:
        if not keep:
            with console.status("stopping the dev stack"):
                devstack.down(home)
    report(home, console, outcome, doors, keep=keep)
    console.print(f"{viewers:,} viewers, {outcome.events:,} events, seed {seed}, {time.monotonic() - began:.0f} s")
    console.print(f"differences: {len(outcome.differences)}")
    return not outcome.differences


def start(home: Home, console: Console, campaign: Campaign, *, ports: str = "") -> None:
    """Starts a dev stack without any data, with its clock at the first evening."""
    _clear(home, console)
    if not ports and (taken := busy(kept(home))):
        console.print(f"ports in use: {', '.join(map(str, taken.values()))}; taking free ones (PORTS=18000 chooses)")
        ports = "auto"
    home.create()
    (home.root / MARK).write_text(json.dumps({"campaign": campaign.id}) + "\n")
    devstack.up(home, console, ports=ports, clock_at=campaign.at(campaign.days[0], "19:00"))


def _clear(home: Home, console: Console) -> None:
    """Removes what the last demo left. Raises `StackError` where the data is somebody else's."""
    if not home.root.exists() or not any(home.root.iterdir()):
        return
    if not (home.root / MARK).exists():
        raise StackError(
            f"{home.root} 里有开发环境的数据，不是演示留下的，所以没有动它。\n"
            "请给演示另一个文件夹：`FANZHA_HOME=/tmp/fanzha-demo make demo`；不要那些数据就先 `make down` 再删掉它。"
        )
    if devstack.down(home):
        console.print("stopped the stack of the last demo")
    console.print(f"removing the data of the last demo in {home.root}")
    shutil.rmtree(home.root)


async def _run(home: Home, console: Console, traffic: Traffic, seed: int) -> tuple[Outcome, Doors]:
    """Runs everything from the definition to the comparison on a running stack."""
    async with player_of(home, traffic.campaign) as player:
        run = Run(player, traffic, seed)
        paused_at = traffic.campaign.at(traffic.campaign.days[PAUSED_LESSON - 1], MOMENTS[EARLY])
        await run.define(load(CAMPAIGN).model_dump(mode="json"))
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        with bar:
            days = bar.add_task("sixteen days", total=len(traffic.campaign.days))
            for step in traffic.steps():
                task = bar.add_task(step.title, total=step.events)
                pausing = step.at == paused_at
                if pausing:
                    console.print(f"{step.title}: Postgres stands still for {PAUSE_S:.0f} s in the middle of the posts")
                    run.repeats_possible = True
                async with standing_still(home, player.addresses.urls.values()) if pausing else nullcontext():
                    await run.send(step, partial(bar.advance, task))
                await run.finish(step)
                bar.remove_task(task)
                bar.update(
                    days, completed=min((step.at.date() - traffic.campaign.days[0]).days, len(traffic.campaign.days))
                )
        with console.status("comparing"):
            return await run.compare(), await run.doors()


def report(home: Home, console: Console, outcome: Outcome, doors: Doors | None = None, *, keep: bool) -> None:
    table = Table("what", title="Sent against found")
    for column in ("compared", "expected", "found", "differences"):
        table.add_column(column, justify="right")
    for check in outcome.comparison.checks:
        style = "bold red" if check.differences else None
        numbers = (check.compared, check.expected, check.found, len(check.differences))
        table.add_row(check.what, *(f"{number:,}" for number in numbers), style=style)
    console.print(table)
    for difference in outcome.differences[:LISTED_MAX]:
        console.print(difference, style="red", soft_wrap=True, markup=False)
    if len(outcome.differences) > LISTED_MAX:
        path = home.root / "differences.txt"
        path.write_text("\n".join(outcome.differences) + "\n", encoding="utf-8")
        console.print(f"… and more: all {len(outcome.differences):,} are in {path}", style="red")
    _say_what_to_look_at(home, console, outcome, doors)
    if keep:
        _say_what_to_do(home, console)
    else:
        console.print(
            "the stack is stopped and its data kept: `make up` starts it again with these pages, KEEP=1 leaves it running"
        )


def _say_what_to_look_at(home: Home, console: Console, outcome: Outcome, doors: Doors | None) -> None:
    result = outcome.comparison
    say = partial(console.print, soft_wrap=True, markup=False)
    if result.pdfs:
        say(
            f"a certificate:      {result.pdfs[0]} ({len(result.pdfs)} in that folder; the later ones have the oddest names)"
        )
    say(f"behind its QR code: {result.certificate_page}")
    say(f"a viewer's page:    {result.viewer_page}")
    if result.to_claim[0]:
        code, tail = result.to_claim
        say(f"claim one yourself: {result.claim_page} with claim code {code}, phone ending in {tail}")
    if doors:
        say(f"the office's desk:  {doors.office}/invitation with code {doors.invitation}, then {doors.office}/desk")
        say(f"a liaison's page:   {doors.liaison_page} ({doors.unit_name}; its code {doors.liaison_code})")
    say(f"messages:           {home.messages} (the demo writes texts to files; nothing is sent to anybody)")


def _say_what_to_do(home: Home, console: Console) -> None:
    variables = read_env(home.env)
    where = "" if home == Home(REPOSITORY / ".devstack") else f"FANZHA_HOME={home.root} "
    console.print("the stack runs; what you can do with it:", soft_wrap=True)
    for what, how in (
        ("the numbers", f"{where}.venv/bin/fanzha totals --by county"),
        ("ask the services", " ".join(f"{variables[f'{name.upper()}_URL']}/docs" for name in SERVICES)),
        ("what runs", f"{where}make status"),
        ("stop it", f"{where}make down"),
    ):
        console.print(f"  {what:<18}{how}", soft_wrap=True, markup=False)
