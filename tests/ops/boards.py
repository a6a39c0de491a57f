"""Boards as tests see them: the committed JSON, panel by panel, and the metric names in a PromQL expression."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
KNOWN_METRICS = DEPLOY / "grafana" / "metrics.txt"
NO_DATA = ("row", "text")

_NOT_NAMES = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\boffset\s+\w+|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)'
)
_OPERATORS = frozenset({"and", "or", "unless", "bool", "inf", "Inf", "nan"})


@dataclass(frozen=True)
class Panel:
    """One panel of one board."""

    board: str
    content: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.content.get("title", ""))

    @property
    def name(self) -> str:
        return f"{self.board}: {self.title}"

    @property
    def targets(self) -> list[dict[str, Any]]:
        return list(self.content.get("targets", []))


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(*, with_data: bool = True) -> list[Panel]:
    panels = [Panel(name, content) for name, board in boards().items() for content in board["panels"]]
    return [panel for panel in panels if panel.content["type"] not in NO_DATA] if with_data else panels


def rules() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def metrics_in(expr: str) -> set[str]:
    """The metric names of an expression: what is neither function, operator, label nor number."""
    bare = _NOT_NAMES.sub(" ", expr)
    return {match[1] for match in re.finditer(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare) if match[1] not in _OPERATORS}


def known_metrics() -> set[str]:
    """Names seen in a real scrape (tests/ops/test_grafana_queries.py compares), and those that our rules record."""
    lines = KNOWN_METRICS.read_text().splitlines()
    scraped = {line for line in lines if line and not line.startswith("#")}
    return scraped | {rule["record"] for rule in rules() if "record" in rule} | {"ALERTS"}
