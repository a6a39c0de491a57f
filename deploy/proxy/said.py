"""Renders what the proxies say themselves, for people and for programs: `python -m deploy.proxy.said`.

A test compares the committed files with this, so that these pages look like all others.
"""

import json
from pathlib import Path

from shared.pages import Pages

FOLDER = Path(__file__).with_name("said")
# status → type and title of the problem, and what a page says below the title
SAID = {
    404: ("not-found", "没有这个页面", "请核对网址是否完整，或从短信、活动页面重新进入。"),
    413: ("/problems/too-large", "请求内容过大", "请核对后重新提交。"),
    429: ("/problems/busy", "请求过多，请稍后重试", "现在访问的人很多，请稍等一会儿再试。"),
    502: ("/problems/away", "服务暂时不可用，请稍后重试", "这不是您的问题，请稍等一会儿再试。"),
}


def render() -> dict[str, str]:
    """Contents by file name."""
    files = {}
    for status, (kind, title, text) in SAID.items():
        problem = {"type": kind, "title": title, "status": status}
        files[f"{status}.json"] = json.dumps(problem, ensure_ascii=False, separators=(",", ":"))
        files[f"{status}.html"] = Pages().notice(title, text)
    return files


if __name__ == "__main__":
    for name, content in render().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
