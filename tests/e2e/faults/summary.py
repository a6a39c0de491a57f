"""Sums up rows of the result file."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any


def played(rows: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each kind of fault was played; one that could not be applied is not among them."""
    return Counter(fault["kind"] for row in rows for fault in row["faults"] if not fault["error"])


def summary(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "nothing played"
    kinds = played(rows)
    missed = [
        f"seed {row['seed']}: {fault['kind']}: {fault['error']}"
        for row in rows
        for fault in row["faults"]
        if fault["error"]
    ]
    recovered = [row["recovered_s"] for row in rows]
    sums = {
        key: sum(row[key] for row in rows)
        for key in ("accepted", "refused", "unknown", "certificates", "texts", "lost", "doubled", "refused_counted")
    }
    lines = [
        *(f"{count:4d}  {kind}" for kind, count in sorted(kinds.items())),
        *(f"could not be played: {words}" for words in missed),
        f"seeds: {len(rows)}, faults: {sum(kinds.values())}, kinds: {len(kinds)}",
        ", ".join(f"{key.replace('_', ' ')}: {number:,}" for key, number in sums.items()),
        f"seconds to recover: median {median(recovered):.1f}, longest {max(recovered):.1f}",
        f"slowest post that was accepted: {max(row['slowest_ok_s'] for row in rows):.1f} s",
        f"seeds with differences: {[row['seed'] for row in rows if row['differences']]}",
        f"differences: {sum(row['differences'] for row in rows)}",
    ]
    return "\n".join(lines)
