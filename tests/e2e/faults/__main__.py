"""`make faults SEEDS=1-20`: plays the seeds that the result file does not have yet, and sums up the file."""

import argparse
import asyncio
import json
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.e2e.faults import kinds
from tests.e2e.faults.nemesis import SEEDS_PER_DECK
from tests.e2e.faults.run import Play, new_folder, play_seed
from tests.e2e.faults.summary import played, summary

RESULTS = Path("faults.ndjson")
SEED_WITHIN_S = 1500


def seeds_of(text: str) -> list[int]:
    """`7`, `1-20`, `1-5,9`."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def main(console: Console) -> int:
    arguments = _arguments()
    seeds = seeds_of(arguments.seeds)
    faults, left_out = kinds.available()
    for words in left_out:
        console.print(f"left out: {words}", style="yellow")
    rows = _rows(arguments.results)
    failed = False
    for seed in seeds:
        if seed in rows and not arguments.again:
            console.print(f"seed {seed}: played already")
            failed |= bool(rows[seed]["differences"])
            continue
        row = _play(console, Play(seed, arguments.longest, arguments.only))
        if row is None:
            failed = True
            continue
        if not arguments.only:
            rows[seed] = row
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        failed |= bool(row["differences"])
    asked_for = [rows[seed] for seed in seeds if seed in rows]
    console.print(summary(asked_for))
    never = {fault.kind for fault in faults} - played(asked_for).keys()
    if never and len(seeds) >= SEEDS_PER_DECK:
        console.print(f"never played: {', '.join(sorted(never))}", style="red")
        failed = True
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("seeds", nargs="?", default="1-5", help="7, 1-20 or 1-5,9")
    parser.add_argument("--results", type=Path, default=RESULTS, help="a JSON line for each seed played")
    parser.add_argument("--longest", type=float, default=90, help="no fault is held for longer, in seconds")
    parser.add_argument("--again", action="store_true", help="play seeds that were played already")
    parser.add_argument("--only", action="append", default=[], help="a kind of fault, instead of the seed's hand")
    return parser.parse_args()


def _rows(results: Path) -> dict[int, Any]:
    """The last result of each seed."""
    if not results.exists():
        return {}
    return {row["seed"]: row for row in map(json.loads, results.read_text(encoding="utf-8").splitlines())}


def _play(console: Console, play: Play) -> dict[str, Any] | None:
    """None where it could not be played to the end: that is an error, and the seed is not counted as played."""
    folder, began = new_folder(), time.monotonic()
    try:
        row = asyncio.run(asyncio.wait_for(play_seed(play, folder), SEED_WITHIN_S))
    except Exception:
        console.print(f"seed {play.seed} could not be played; logs in {folder}", style="red")
        console.print(traceback.format_exc(), markup=False)
        return None
    for fault in row["faults"]:
        words = fault["words"] or f"NOT PLAYED: {fault['error']}"
        console.print(f"  {fault['began_s']:6.1f} s  {fault['kind']}: {words}", markup=False, highlight=False)
    console.print(
        f"seed {play.seed}: {len(row['faults'])} faults, {row['accepted']:,} accepted, {row['refused']:,} refused, "
        f"{row['unknown']:,} unknown, slowest accepted post {row['slowest_ok_s']:g} s, recovered in {row['recovered_s']:g} s "
        f"({time.monotonic() - began:.0f} s)\n  differences: {row['differences']}"
    )
    if row["differences"]:
        console.print(f"  {row['by_sort']}", style="red", markup=False, highlight=False)
        for line in row["words"]:
            console.print(f"  {line}", style="red", markup=False, highlight=False)
        console.print(f"  journal and logs: {folder}; again: make faults SEEDS={play.seed} AGAIN=1", markup=False)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return row


if __name__ == "__main__":
    sys.exit(main(Console(soft_wrap=True)))
