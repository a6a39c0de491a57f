"""The page of every alert (deploy/runbooks) as a board of its own, `/d/runbook-NAME`, so that an office without internet reads it
where it reads its boards."""

import re

from grafana_foundation_sdk.builders import dashboard, text
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import text as text_models

from deploy.grafana.boards.parts import ALERTS, RUNBOOKS, SCREEN_ROWS, TITLES, link, runbook


def build(alert: str) -> dashboard.Dashboard:
    """The page of one alert, with links to the boards and to the pages that it names."""
    page = (RUNBOOKS / f"{alert}.md").read_text().removeprefix(f"# {alert}\n").strip()
    page = re.sub(r"\]\((\w+)\.md\)", lambda named: f"]({runbook(named[1])})", page)
    panel = text.Panel().title(alert).mode(text_models.TextMode.MARKDOWN).content(page)
    board = dashboard.Dashboard(f"{alert} 处理办法").uid(f"runbook-{alert}").tags(["fanzha-runbook"]).readonly()
    for uid, title in TITLES.items():
        board = board.link(link(title, f"/d/{uid}"))
    return board.with_panel(panel.grid_pos(models.GridPos(x=0, y=0, w=24, h=SCREEN_ROWS)))


def build_all() -> dict[str, dashboard.Dashboard]:
    return {alert: build(alert) for alert in sorted(ALERTS)}
