"""The table, the JSON, and the last line."""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.cases import Result
from devstack.home import REPOSITORY
from shared.bus.topology import SERVICES

OTHERS = ("copy", "copy-once", "nats", "monolith-500", "monolith-1", "ordinary", "ordinary-8")


def machine() -> dict[str, Any]:
    """The machine on which the numbers were measured."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": f"{psutil.cpu_count()} × {cpu}",
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def rates(results: Iterable[Result]) -> str:
    """The table of rates and costs. CPU is the sum over all processes, also shown as the rate that two cores would reach with
    it."""
    rows: list[Sequence[str]] = [("", "n", "per second", "CPU µs each", "WAL bytes each", "fsyncs each", "other load")]
    for result in results:
        row = [result.name, f"{result.n:,}", f"{result.rate:,.0f}", "", "", "", ""]
        if result.usage:
            row[3] = f"{sum(result.cpu_us().values()):,.0f}"
            row[4] = f"{result.usage.wal_bytes / result.n:,.0f}"
            row[5] = f"{(result.usage.fsyncs + result.usage.nats_messages) / result.n:.4f}"
            row[6] = f"{result.usage.others_cores:.1f} cores"
        rows.append(row)
    return _table(rows)


def processes(results: Iterable[Result]) -> str:
    """CPU seconds per million units (= µs each) by process, and peak memory in MiB."""
    measured = [result for result in results if result.usage]
    columns = ["generator", *SERVICES, "nats", *(f"postgres: {name}" for name in SERVICES), "postgres: rest"]
    rows: list[Sequence[str]] = [("CPU s per million", *(name.replace("postgres: ", "pg ") for name in columns))]
    for result in measured:
        cpu = _folded(result.cpu_us())
        rows.append((result.name, *(f"{cpu.get(name, 0):,.1f}" for name in columns)))
    memory = ["generator", *SERVICES, "nats", "postgres"]
    peaks: list[Sequence[str]] = [("peak MiB", *memory)]
    for result in measured:
        peaks.append((result.name, *(f"{_peaks(result).get(name, 0):,.0f}" for name in memory)))
    return _table(rows) + "\n\n" + _table(peaks)


def ratios(results: Mapping[str, Result]) -> str:
    """Compares rate and CPU of Fanzha (empty table, batches of 500; or single posts) with those of each of the others."""
    rows: list[Sequence[str]] = [("Fanzha beside", "times as fast", "times the CPU")]
    for key, other in results.items():
        ours = results["empty-1" if key == "monolith-1" else "empty-500"]
        if key in OTHERS:
            cpu, theirs = sum(ours.cpu_us().values()), sum(other.cpu_us().values())
            rows.append((other.name, f"{ours.rate / other.rate:,.2f}", f"{cpu / theirs:,.3f}" if theirs else ""))
    return _table(rows)


def plain(figures: Mapping[str, Any]) -> str:
    return _table([("stored", ""), *((name, f"{value:,}") for name, value in figures.items())])


def _peaks(result: Result) -> Mapping[str, float]:
    return result.usage.peak_mib if result.usage else {}


def _folded(cpu: Mapping[str, float]) -> dict[str, float]:
    known = {f"postgres: {name}" for name in SERVICES}
    folded = {name: value for name, value in cpu.items() if not name.startswith("postgres") or name in known}
    folded["postgres: rest"] = sum(cpu.values()) - sum(folded.values())
    return folded


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown, aligned, so that it reads in a terminal and in docs/."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        first, *rest = row
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def write_json(path: Path, results: Sequence[Result], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "results": [asdict(result) | {"rate": result.rate} for result in results], **more}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")
