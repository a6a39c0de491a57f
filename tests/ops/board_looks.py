"""Boards as they look: drawn with Grafana's own parts (@grafana/ui) in headless Chromium. The pictures are build/boards/*.png.

Installing the parts takes two minutes and 600 MB, once, in build/boards/node; bar charts and state timelines are not among them.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.ops.boards import DEPLOY, boards

PARTS = Path(__file__).parent / "board_looks"  # package.json, its lock, board.jsx
BUILD = DEPLOY.parent / "build" / "boards"
NODE = BUILD / "node"
TOOLS = ("npm", "node", "chromium")
SCREEN_PX, ROW_PX, BROWSER_PX = 1920, 38, 90  # headless Chromium takes 90 px of a window's height for itself
INSTALL_WITHIN_S, DRAW_WITHIN_S = 540, 120
SETTLED_MS = 8_000  # of the page's own time, which is not waited for
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="node/board.css">
<style>body{{margin:0;background:#111217;color:#ccccdc;font:14px Inter,"Noto Sans CJK SC",sans-serif}}</style>
<div id="root" style="position:relative"></div><script>window.look={look}</script><script src="node/board.js"></script>"""


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def install() -> None:
    """Brings Grafana's parts and makes one script of them and of ours."""
    NODE.mkdir(parents=True, exist_ok=True)
    lock = (PARTS / "package-lock.json").read_bytes()
    if not (NODE / "node_modules").exists() or (NODE / "package-lock.json").read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PARTS / name, NODE)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps"], INSTALL_WITHIN_S)
    shutil.copy(PARTS / "board.jsx", NODE)
    _run(["npm", "run", "--silent", "bundle"], DRAW_WITHIN_S)


def draw(name: str, answers: dict[str, dict[str, Any]], texts: dict[str, str], now: float) -> list[str]:
    """Draws a board; what went wrong. `answers`: panel → ref → what its data source gave. `texts`: variable → what it shows."""
    board = boards()[name]
    height = ROW_PX * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    look = {"board": board, "answers": answers, "texts": texts, "width": SCREEN_PX, "now": now}
    page = BUILD / f"{name}.html"
    page.write_text(PAGE.format(look=json.dumps(look).replace("</", "<\\/")))
    picture = BUILD / f"{name}.png"
    picture.unlink(missing_ok=True)
    said = _run(
        [
            *(
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--enable-logging=stderr",
            ),
            *("--allow-file-access-from-files", f"--virtual-time-budget={SETTLED_MS}"),
            *(f"--window-size={SCREEN_PX},{height + BROWSER_PX}", f"--screenshot={picture}", page.as_uri()),
        ],
        DRAW_WITHIN_S,
    )
    failures = [line for line in said.splitlines() if "look failed" in line or "Uncaught" in line]
    if "look drawn" not in said:
        failures.append("the page did not finish")
    return failures if picture.exists() else [*failures, "no picture"]


def _run(command: list[str], within_s: float) -> str:
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=within_s)
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout + done.stderr
