"""Half the capacity for a long time: memory and latency must stay flat. Draws both from the services' own metrics.

It plays a whole course fast: the same viewers check in to one lesson after another, each time in another order. With the last
lesson but one all of them reach the required days within two minutes, as on the evening on which most viewers finish.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench import checker, workload
from bench.cases import Bench
from bench.generator import Outcome
from bench.latency import percentiles
from bench.meter import MIB
from shared.bus.topology import SERVICES

LESSONS = 16
REQUIRED_DAYS = 15
SEALED_AFTER_HOURS = 24 * 30  # no lesson is late before the course is over
PER_POST = 100
CONNECTIONS = 64
SCRAPE_EVERY_S = 5.0
WINDOWS = 60  # points of the latency curve

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 190, 60, 34, 54
COLOURS = ("#3366cc", "#dc3912", "#ff9900", "#109618")


@dataclass
class Scrape:
    """What the services' /metrics and Postgres said at a moment (seconds from the start)."""

    at_s: float
    resident_mib: dict[str, float]
    outbox_pending: float
    wal_mib: float
    checkpoints: int


async def soak(bench: Bench, per_s: float, minutes: float) -> tuple[dict[str, Any], str]:
    """Runs it; returns the figures and a drawing of them (SVG)."""
    campaign_id = "bench-soak"
    await bench.stack.define(campaign_id, REQUIRED_DAYS, seal_after_hours=SEALED_AFTER_HOURS)
    viewers = round(per_s * minutes * 60 / LESSONS / PER_POST) * PER_POST
    job = bench.job(
        workload.course,
        campaign_id,
        viewers,
        LESSONS,
        PER_POST,
        connections=CONNECTIONS,
        posts_per_s=per_s / PER_POST,
        prepare=False,
    )
    began = time.monotonic()
    scrapes: list[Scrape] = []
    scraping = asyncio.create_task(_scrape_for_ever(bench, began, scrapes))
    outcome = await bench.send(job)
    scraping.cancel()
    checker.all_recorded(outcome, viewers * LESSONS)
    await checker.until_applied(bench.stack, campaign_id, viewers * LESSONS, viewers)
    p50, p99 = windows(outcome, 0.5), windows(outcome, 0.99)
    memory = {
        service: [
            (scrape.at_s / 60, scrape.resident_mib[service]) for scrape in scrapes if service in scrape.resident_mib
        ]
        for service in SERVICES
    }
    log = [
        (after.at_s / 60, (after.wal_mib - before.wal_mib) / (after.at_s - before.at_s))
        for before, after in itertools.pairwise(scrapes)
    ]
    figures = {
        "check-ins/s": round(per_s),
        "minutes": minutes,
        "viewers": viewers,
        "check-ins": viewers * LESSONS,
        "due → answered, ms": percentiles([post.answered - post.due for post in outcome.posts]),
        "p50 by quarter, ms": [round(statistics.median(y for _, y in part), 1) for part in _quarters(p50)],
        "p99 by quarter, ms": [round(statistics.median(y for _, y in part), 1) for part in _quarters(p99)],
        "MiB by quarter": {
            name: [round(max(y for _, y in part)) for part in _quarters(points)] for name, points in memory.items()
        },
        "outbox pending, most": max(scrape.outbox_pending for scrape in scrapes),
        "checkpoints": scrapes[-1].checkpoints - scrapes[0].checkpoints,
    }
    panels = [
        ("resident memory, MiB", memory),
        ("due → answered, ms", {"p50": p50, "p99": p99}),
        ("write-ahead log, MiB/s", {"of all services": log}),
    ]
    return figures, svg(panels)


async def _scrape_for_ever(bench: Bench, began: float, scrapes: list[Scrape]) -> None:
    while True:
        resident: dict[str, float] = {}
        pending = 0.0
        for service in SERVICES:
            page = (await bench.stack.http.get(f"{bench.stack.env[f'{service.upper()}_URL']}/metrics")).text
            samples = {
                sample.name: sample.value
                for family in text_string_to_metric_families(page)
                for sample in family.samples
            }
            resident[service] = samples["process_resident_memory_bytes"] / MIB
            pending += samples.get("fanzha_outbox_pending", 0)
        (log,) = await bench.stack.postgres.fetch(
            "SELECT (pg_current_wal_lsn() - '0/0')::float8 AS bytes, num_done AS checkpoints FROM pg_stat_checkpointer"
        )
        at_s = time.monotonic() - began
        scrapes.append(Scrape(at_s, resident, pending, log["bytes"] / MIB, log["checkpoints"]))
        await asyncio.sleep(SCRAPE_EVERY_S)


def windows(outcome: Outcome, quantile: float) -> list[tuple[float, float]]:
    """(minute, milliseconds): the quantile of the latencies due in each part of the run."""
    length = (outcome.ended - outcome.began) / WINDOWS
    parts: list[list[float]] = [[] for _ in range(WINDOWS)]
    for post in outcome.posts:
        parts[min(int((post.due - outcome.began) / length), WINDOWS - 1)].append(post.answered - post.due)
    return [
        ((index + 0.5) * length / 60, sorted(part)[int(len(part) * quantile)] * 1000)
        for index, part in enumerate(parts)
        if part
    ]


def _quarters(points: Sequence[tuple[float, float]]) -> list[Sequence[tuple[float, float]]]:
    size = max(len(points) // 4, 1)
    return [points[start : start + size] for start in range(0, size * 4, size) if points[start : start + size]]


def svg(panels: Sequence[tuple[str, dict[str, list[tuple[float, float]]]]]) -> str:
    """Lines over minutes, one panel under the other, from 0 up."""
    height = len(panels) * (HEIGHT + GAP) + TOP
    drawn = [_panel(title, curves, TOP + number * (HEIGHT + GAP)) for number, (title, curves) in enumerate(panels)]
    style = '<style>text{font:12px sans-serif;fill:#333}</style><rect width="100%" height="100%" fill="white"/>'
    size = f'width="{WIDTH + LEFT + 20}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(drawn)}</svg>\n'


def _panel(title: str, curves: dict[str, list[tuple[float, float]]], top: float) -> str:
    most_x = max((x for points in curves.values() for x, _ in points), default=1) or 1
    most_y = max((y for points in curves.values() for _, y in points), default=1) * 1.1 or 1
    parts = [f'<text x="{LEFT}" y="{top - 10}">{title}</text>']
    for tick in range(5):
        y = top + HEIGHT * (1 - tick / 4)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most_y * tick / 4:,.0f}</text>')
        x = LEFT + WIDTH * tick / 4
        parts.append(
            f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{most_x * tick / 4:.1f} min</text>'
        )
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{LEFT + WIDTH * x / most_x:.1f},{top + HEIGHT * (1 - y / most_y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{LEFT + 180 + number * 110}" y="{top - 10}" style="fill:{colour}">{name}</text>')
    return "".join(parts)
