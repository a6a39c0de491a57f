"""`fanzha campaign`: what the operator reads, against a small stand-in for checkin on a real socket."""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.campaign_commands import app, changes
from tests.support.campaigns import WITHOUT_COURSE, campaign, campaign_content, unit

CONFLICT = {
    "type": "/problems/campaign-frozen",
    "title": "活动已开始，不能这样修改",
    "status": 409,
    "detail": "已有签到",
    "reasons": ["credit：原为 [live]，改为 [replay]。原因：…"],
}


class Checkin:
    """Keeps definitions as checkin promises to: same content, same revision."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.revision: dict[str, int] = {}
        self.attributed = 0
        self.forms: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        self.refusal: tuple[int, bytes] | None = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self.refusal and method == "PUT":
            return self.refusal
        if method == "PUT" and path.endswith("?dry_run=true"):
            revision = self.revision.get(path.partition("?")[0], 0) + 1
            return 200, json.dumps({"revision": revision, "dry_run": True, "forms": self.forms}).encode()
        if method == "PUT":
            content = json.loads(body)
            if self.stored.get(path) != content:
                self.stored[path] = content
                self.revision[path] = self.revision.get(path, 0) + 1
            return 200, json.dumps(
                {"revision": self.revision[path], "attributed": self.attributed, "forms": self.forms}
            ).encode()
        if path.partition("?")[0] == "/v1/campaigns":
            rows = [
                {"campaign_id": stored.rpartition("/")[2], "title": content["title"], "revision": self.revision[stored]}
                for stored, content in self.stored.items()
            ]
            return 200, json.dumps({"rows": rows, "next_cursor": None}).encode()
        if path not in self.stored:
            return 404, b'{"title": "x", "status": 404}'
        return 200, json.dumps(self.stored[path]).encode()


@pytest.fixture
def checkin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkin]:
    stand_in = Checkin()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            stand_in.tokens.add(self.headers["authorization"])
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, answer = stand_in.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.send_header("x-revision", str(stand_in.revision.get(self.path)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("CHECKIN_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("ADMIN_TOKEN", "t")
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(folder: Path, **changed: Any) -> Path:
    path = folder / "small-2024.yaml"
    path.write_text(yaml.safe_dump(campaign_content(**changed), allow_unicode=True))
    return path


def fanzha(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_new_campaign_is_applied_once(checkin: Checkin, file: Path) -> None:
    first, again = fanzha("apply", file), fanzha("apply", file)
    assert first.exit_code == again.exit_code == 0
    assert "第 1 版" in first.output
    assert "新活动：小活动，2 节课（2024-06-29 至 2024-06-30），4 个单位，1 个渠道码" in first.output
    assert "第 1 版" in again.output
    assert "内容没有变化" in again.output
    assert checkin.tokens == {"Bearer t"}


def test_a_change_is_told(checkin: Checkin, file: Path) -> None:
    fanzha("apply", file)
    told = fanzha("apply", write(file.parent, required_days=1, channels={"QR-2": "1"}))
    assert "第 2 版" in told.output
    assert "required_days：2 → 1" in told.output
    assert "channels：新增 1 项（QR-2），删除 1 项（QR-1）" in told.output


def test_a_channel_that_is_given_another_unit_moves_nobody_and_apply_says_so(checkin: Checkin, file: Path) -> None:
    fanzha("apply", file)
    told = fanzha("apply", write(file.parent, channels={"QR-1": "111", "QR-2": "1"}))
    assert "渠道码 QR-1 改到了另一个单位，只影响以后的报名；已归属的观众不动" in told.output
    assert "改到" not in fanzha("apply", file.parent / file.name).output


def test_platforms_are_told_when_they_come_change_and_go(checkin: Checkin, file: Path) -> None:
    fanzha("apply", file)
    platform = {"source": "kuaishou", "title": "快手", "modes": ["live"]}
    for platforms, told in (
        ([platform], "platforms：新增 1 项（kuaishou）"),
        ([platform | {"title": "直播"}], "platforms：修改 1 项（kuaishou）"),
        ([], "platforms：删除 1 项（kuaishou）"),
    ):
        said = fanzha("apply", write(file.parent, platforms=platforms)).output
        assert told in said
        assert ("fanzha platforms" in said) is bool(platforms)


def test_viewers_who_were_given_a_unit_are_told(checkin: Checkin, file: Path) -> None:
    checkin.attributed = 3
    assert "3 名此前未归属的观众" in fanzha("apply", file).output


def test_json_is_for_scripts(checkin: Checkin, file: Path) -> None:
    assert json.loads(fanzha("apply", file, "--json").stdout) == {
        "campaign_id": "small-2024",
        "revision": 1,
        "created": True,
        "changes": None,
        "attributed": 0,
        "redirected": [],
        "contacts_withdrawn": 0,
        "forms": [],
    }
    assert json.loads(fanzha("apply", file, "--json").stdout)["changes"] == []
    assert json.loads(fanzha("show", "small-2024", "--json").stdout) == {
        "campaign_id": "small-2024",
        "revision": 1,
        "definition": campaign().model_dump(mode="json"),
    }


DAILY = {"form": "daily", "title": "每日学习情况"}
NEXT = {"period": "2024-06-30", "opens_at": "2024-06-30T11:30:00+00:00", "due_at": "2024-07-01T10:00:00+00:00"}
NOT_YET = dict.fromkeys(NEXT)


def test_a_dry_run_says_what_changes_from_when_and_changes_nothing(
    checkin: Checkin, file: Path, tmp_path: Path
) -> None:
    checkin.forms = [
        DAILY | NEXT | {"change": "changed", "keys": ["deadline", "due_times"]},
        DAILY | NEXT | {"change": "removed", "keys": []},
        DAILY | NOT_YET | {"change": "added", "keys": []},
    ]
    told = fanzha("apply", write(tmp_path, organiser="新主办方"), "--dry-run").output
    assert "活动 small-2024：将是第 1 版" in told
    assert "上报表（已经开始的各期不变）：" in told
    starts = "从 2024-06-30 这一期起（2024-06-30 19:30 开始"
    assert f"daily（每日学习情况）：修改 deadline、截止时间，{starts}，截止 2024-07-01 18:00）" in told
    assert f"daily（每日学习情况）：停用，{starts}）" in told
    assert "daily（每日学习情况）：新增，没有尚未开始的期" in told
    assert "什么也没有改" in told
    assert checkin.stored == {}
    fanzha("apply", file)
    assert "将更新：\n  - organiser" in fanzha("apply", write(tmp_path, organiser="新"), "--dry-run").output
    assert json.loads(fanzha("apply", file, "--dry-run", "--json").stdout)["dry_run"] is True


def test_a_refusal_prints_its_reasons(checkin: Checkin, file: Path) -> None:
    checkin.refusal = (409, json.dumps(CONFLICT).encode())
    refused = fanzha("apply", file)
    assert refused.exit_code == 1
    for text in ("409", CONFLICT["title"], CONFLICT["detail"], "  - credit：原为"):
        assert str(text) in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (422, b'{"title": "t", "errors": [{"at": "a.b", "message": "m"}]}', "  - a.b：m"),
        (502, b"<html>gateway</html>", "<html>gateway</html>"),
        (500, b"", "Internal Server Error"),
        (200, b"hello", "不是 JSON"),
    ],
)
def test_other_refusals_are_told_without_a_traceback(
    checkin: Checkin, file: Path, status: int, body: bytes, told: str
) -> None:
    checkin.refusal = (status, body)
    refused = fanzha("apply", file)
    assert refused.exit_code == 1
    assert told in refused.stderr


def test_a_wrong_file_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    told = fanzha("apply", write(tmp_path, required_days=9))
    assert told.exit_code == 1
    assert "有 1 处需要修改" in told.stderr
    assert "行 required_days：9 多于课程数 2" in told.stderr


def test_a_service_that_is_away_is_named_with_the_way_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKIN_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ADMIN_TOKEN", "t")
    told = fanzha("apply", file)
    assert told.exit_code == 1
    plain, details = told.stderr.split("技术细节：")
    assert plain.startswith(
        "连不上 checkin（http://127.0.0.1:1）：连接被拒绝，那里没有程序在等。请确认服务已启动（make up）"
    )
    assert "ConnectError" in details


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://nowhere.invalid", "找不到这个主机名"),
        ("127.0.0.1:8001", "地址写得不对"),
        ("http://[::1", "地址写得不对"),
        ("ftp://127.0.0.1", "地址写得不对"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_in_chinese(
    file: Path, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setenv("CHECKIN_URL", url)
    monkeypatch.setenv("ADMIN_TOKEN", "t")
    monkeypatch.setenv("NO_PROXY", "*")
    told = fanzha("apply", file)
    plain = told.stderr.split("\n技术细节：")[0]
    assert (told.exit_code, why in plain, "[Errno" in plain) == (1, True, False), told.stderr


def test_a_service_that_hangs_up_is_told_in_chinese(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        monkeypatch.setenv("CHECKIN_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        told = fanzha("apply", file)
    assert (told.exit_code, "：连接中途断开。" in told.stderr.split("\n技术细节：")[0]) == (1, True), told.stderr


@pytest.mark.parametrize(
    ("windows", "lesson", "says"),
    [
        (
            [{"from": "19:00", "to": "21:00"}],
            {"live": [{"from": "15:00", "to": "15:30"}]},
            "2024-06-29《第一课》首播自己的时段",
        ),
        ([{"from": "19:00", "to": "21:00"}], {"live": [{"from": "20:30", "to": "21:30"}]}, ""),
        ([{"from": "15:00", "to": "21:00"}], {"live": [{"from": "15:00", "to": "15:30"}]}, ""),
        ([], {"live": [{"from": "15:00", "to": "15:30"}]}, ""),
        ([{"from": "19:00", "to": "21:00"}], None, ""),
        ([{"from": "19:00", "to": "19:40"}], None, ""),
        (
            [{"from": "19:00", "to": "21:00"}],
            {"live": [{"from": "15:00", "to": "15:30"}], "replay": [{"from": "16:00", "to": "17:00"}]},
            "2024-06-29《第一课》首播和重播自己的时段",
        ),
    ],
)
def test_a_platform_whose_hours_leave_out_a_lesson_is_told(
    tmp_path: Path, windows: list[dict[str, str]], lesson: dict[str, Any] | None, says: str
) -> None:
    lessons = [{"date": "2024-06-29", "title": "第一课"}, {"date": "2024-06-30", "title": "第二课"}]
    if lesson:
        lessons[0]["windows"] = lesson  # type: ignore[assignment]
    platform = {"source": "ks", "title": "快手", "windows": windows}
    told = fanzha("check", write(tmp_path, lessons=lessons, platforms=[platform]))
    assert told.exit_code == 0, told.stderr
    assert ("注意：平台 快手（ks）" in told.stdout, says in told.stdout) == (bool(says), True), told.stdout


def test_without_a_stack_it_says_how_to_get_one(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHECKIN_URL", raising=False)
    monkeypatch.setenv("FANZHA_HOME", str(tmp_path))
    told = fanzha("apply", file)
    assert told.exit_code == 1
    assert "不知道 CHECKIN_URL" in told.stderr
    assert "make up" in told.stderr


def test_address_and_token_come_from_the_stack(
    checkin: Checkin, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = take(monkeypatch, "CHECKIN_URL")
    take(monkeypatch, "ADMIN_TOKEN")
    (tmp_path / "env").write_text(f"CHECKIN_URL={url}\nADMIN_TOKEN='from the stack'\n")
    monkeypatch.setenv("FANZHA_HOME", str(tmp_path))
    assert fanzha("apply", file).exit_code == 0
    assert checkin.tokens == {"Bearer from the stack"}


def take(monkeypatch: pytest.MonkeyPatch, key: str) -> str:
    value = os.environ[key]
    monkeypatch.delenv(key)
    return value


def test_show(checkin: Checkin, file: Path) -> None:
    fanzha("apply", file)
    shown = fanzha("show", "small-2024")
    assert shown.exit_code == 0
    for text in ("small-2024", "第 1 版", "19:30–20:00", "次日 08:00–19:00", "2024-06-30 20:00:00+08:00", "第二课"):
        assert text in shown.output
    assert fanzha("show").output == shown.output, "the only campaign that the system has"


def test_check_needs_no_system(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("CHECKIN_URL", "http://127.0.0.1:1")
    assert fanzha("check", file).exit_code == 0
    file.write_text(file.read_text().replace("19:30", "19:60"))
    answer = fanzha("check", file)
    assert (answer.exit_code, "处需要修改" in answer.output) == (1, True)


def test_a_campaign_without_a_course_is_checked_applied_and_shown(checkin: Checkin, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(campaign_content(**WITHOUT_COURSE), allow_unicode=True))
    told = fanzha("check", path).output
    assert "小活动，没有课程（2024-06-29 至 2024-07-02），4 个单位" in told
    assert fanzha("apply", path).exit_code == 0
    shown = fanzha("show", "small-2024")
    assert shown.exit_code == 0, shown.output
    assert "没有课程" in shown.output
    assert "首播" not in shown.output


def test_show_says_what_is_missing(checkin: Checkin, file: Path) -> None:
    assert "请先运行 fanzha campaign apply" in fanzha("show", "nothing").stderr
    assert "请写明活动 ID（系统里有 0 个活动：还没有活动）" in fanzha("show").stderr
    fanzha("apply", file)
    fanzha("apply", write(file.parent, campaign_id="other-2024"))
    assert "请写明活动 ID（系统里有 2 个活动：small-2024、other-2024）" in fanzha("show").stderr


def test_list(checkin: Checkin, file: Path) -> None:
    assert "系统中还没有活动" in fanzha("list").output
    fanzha("apply", file)
    assert re.search(r"small-2024 +小活动 +1", fanzha("list").output)
    rows = [{"campaign_id": "small-2024", "title": "小活动", "revision": 1}]
    assert json.loads(fanzha("list", "--json").output) == {"rows": rows}


def test_changes_name_rows_by_their_codes() -> None:
    old = campaign().model_dump(mode="json")
    units = [*campaign_content()["units"], *(unit(f"n{i}", "111", "unit") for i in range(9))]
    units[3] = units[3] | {"name": "新名"}
    new = campaign(units=units, title="新").model_dump(mode="json")
    assert changes(old, new) == [
        'title："小活动" → "新"',
        "units：新增 9 项（n0、n1、n2、n3、n4、n5、n6、n7…），修改 1 项（111-EDU）",
    ]
    assert changes(old, campaign(units=campaign_content()["units"][::-1]).model_dump(mode="json")) == [
        "units：次序改变"
    ]


def test_a_key_that_nothing_reads_yet_is_named(checkin: Checkin, tmp_path: Path) -> None:
    assert "用不到" not in fanzha("apply", write(tmp_path)).output
    told = fanzha("apply", write(tmp_path, closing_time="17:30")).output
    assert "注意：closing_time 已保存，但没有写 forms（上报表），用不到" in told


def test_a_channel_that_reaches_nobody_is_named(checkin: Checkin, tmp_path: Path) -> None:
    assert "正式环境没有这个通道" not in fanzha("apply", write(tmp_path, messages=[])).output
    assert "正式环境没有这个通道，短信会等着不发" in fanzha("apply", write(tmp_path)).output
