"""Rules, their tests and Alertmanager's configuration, checked by Prometheus's own tools; and every alert has its runbook."""

import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devstack.ports import free_port
from devstack.processes import answers_200
from shared import env_files
from upkeep.secret_files import ALERT_RECEIVERS

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
RUNBOOKS = DEPLOY / "runbooks"
SECTIONS = ["Meaning 含义", "Impact 影响", "Diagnosis 排查", "Mitigation 处理"]


def run(tool: str, *arguments: str | Path) -> str:
    """What a tool that must succeed prints."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is missing: apt-get install prometheus prometheus-alertmanager")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, cwd=DEPLOY / "prometheus")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_the_rules_are_valid() -> None:
    assert "FAILED" not in run("promtool", "check", "rules", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_alerts_fire_and_are_quiet_as_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", path)


def test_the_configurations_are_valid() -> None:
    run("promtool", "check", "config", "prometheus.yml")
    run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"), [(["severity=page"], "page"), (["severity=ticket"], "ticket"), ([], "ticket")]
)
def test_alerts_reach_who_must_act(labels: list[str], receiver: str) -> None:
    config = DEPLOY / "alertmanager" / "alertmanager.yml"
    assert run("amtool", "config", "routes", "test", f"--config.file={config}", *labels).strip() == receiver


def rendered(folder: Path, **alerts: str) -> Path:
    """What start.sh gives Alertmanager with these lines in secrets/alerts.env."""
    (folder / "alerts.env").write_text(env_files.text_of(dict.fromkeys(ALERT_RECEIVERS, "") | alerts))
    out = folder / "alertmanager.yml"
    variables = {
        "ALERTS_FILE": str(folder / "alerts.env"),
        "ALERTS_OUT": str(out),
        "ALERTMANAGER": "true",
        "PATH": "/bin:/usr/bin",
    }
    subprocess.run(["/bin/sh", str(DEPLOY / "alertmanager" / "start.sh")], env=variables, check=True)
    run("amtool", "check-config", out)
    return out


MAIL = {"ALERT_MAIL_TO": "d@x.cn", "ALERT_MAIL_FROM": "f@x.cn", "ALERT_SMTP": "mail.x.cn:587", "ALERT_SMTP_USER": "f"}


@pytest.mark.parametrize(
    ("alerts", "page", "ticket"),
    [
        ({}, {}, {}),
        ({"ALERT_WEBHOOK_URL": "http://r/it's?a=#$1"}, {"url": "http://r/it's?a=#$1"}, {"url": "http://r/it's?a=#$1"}),
        ({"ALERT_PAGE_WEBHOOK_URL": "http://night"}, {"url": "http://night"}, {}),
        (MAIL | {"ALERT_SMTP_PASSWORD": "p'$@ %"}, {"auth_password": "p'$@ %"}, {"auth_password": "p'$@ %"}),
        (MAIL | {"ALERT_PAGE_MAIL_TO": "n@x.cn"}, {"to": "n@x.cn"}, {"to": "d@x.cn"}),
    ],
)
def test_who_hears_of_an_alert_stands_among_the_secrets(
    tmp_path: Path, alerts: dict[str, str], page: dict[str, str], ticket: dict[str, str]
) -> None:
    config = yaml.safe_load(rendered(tmp_path, **alerts).read_text())
    assert {key: config[key] for key in ("route", "inhibit_rules")} == {
        key: yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())[key]
        for key in ("route", "inhibit_rules")
    }
    for receiver, expected in zip(config["receivers"], (page, ticket), strict=True):
        told = [entry for kind, entries in receiver.items() if kind != "name" for entry in entries]
        assert len(told) == bool(expected)
        assert all(expected.items() <= entry.items() for entry in told)


def moments() -> dict[str, set[str]]:
    """By alert: whether the tests look at it while it fires and while it is quiet."""
    seen: dict[str, set[str]] = defaultdict(set)
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for look in case.get("promql_expr_test", ()):
                name = re.search(r'alertname="(\w+)"', look["expr"])
                assert name, look
                seen[name[1]].add("fires" if look["exp_samples"] else "quiet")
    return seen


def test_every_alert_is_seen_firing_and_quiet() -> None:
    assert moments() == {name: {"fires", "quiet"} for name in ALERTS}


def test_every_alert_has_a_runbook_of_its_name_and_no_runbook_is_left_over() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)
    for name, rule in ALERTS.items():
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS, name
        for link in re.findall(r"\]\((\w+)\.md\)", page):
            assert link in ALERTS, f"{name} links to {link}"
        assert rule["annotations"]["runbook"] == f"deploy/runbooks/{name}.md"
        assert rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.boards }}}}/d/runbook-{name}"


def exact_counters() -> set[str]:
    """What the services read from their databases and call a counter."""
    sources = [path.read_text() for path in sorted((DEPLOY.parent / "services").rglob("metrics.py"))]
    named = {f"{name}_total" for text in sources for name in re.findall(r'CounterMetricFamily\(\s*"(\w+)"', text)}
    return named - {"fanzha_liaison_code_tries_total"}  # counted by the process


def test_nothing_takes_an_older_database_for_a_restart_at_0() -> None:
    """rate() and increase() of a figure from a database add all of it when it falls a little (rules/figures.yml)."""
    assert "fanzha_live_events_total" in exact_counters()
    recorded = {rule["record"] for rule in rules() if "record" in rule} - {
        "job_instance:requests:sum",
        "job_instance:requests_failed:sum",
    }
    figures = "|".join(sorted(exact_counters() | recorded))
    risky = re.compile(rf"\b(rate|irate|increase|resets)\s*\(\s*({figures})\b")
    asked = [*RULES, *RUNBOOKS.glob("*.md"), *(DEPLOY / "grafana" / "dashboards").rglob("*.json")]
    assert [path.name for path in asked if risky.search(path.read_text())] == []


def test_every_alert_says_in_chinese_what_happened_and_whom_to_call() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert re.search(r"[\u4e00-\u9fff]", rule["annotations"]["summary"]), name


def test_alertmanager_inhibits_only_alerts_that_exist() -> None:
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    for rule in config["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if named := re.match(r'alertname =~? "(.+)"', matcher):
                assert set(named[1].split("|")) <= set(ALERTS), matcher


@pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="apt-get install prometheus-alertmanager")
def test_where_nothing_comes_at_all_only_the_campaign_is_called_about(tmp_path: Path) -> None:
    """By Alertmanager itself: a campaign's FeedStopped inhibits those of its platforms, and no other campaign's."""
    url = f"http://127.0.0.1:{free_port()}"
    config = DEPLOY / "alertmanager" / "alertmanager.yml"
    command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={tmp_path}"]
    command += [f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="]
    whole = [{"campaign": "c"}]
    platforms = [{"campaign": campaign, "source": source} for campaign in "cd" for source in ("kuaishou", "douyin")]
    firing = [{"labels": {"alertname": "FeedStopped", "lesson": "1"} | labels} for labels in whole + platforms]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server, httpx.Client(base_url=url, timeout=5) as http:
        try:
            until(lambda: answers_200(f"{url}/-/ready"))
            assert http.post("/api/v2/alerts", json=firing).status_code == 200
            until(lambda: len(http.get("/api/v2/alerts").json()) == len(firing))
            heard = http.get("/api/v2/alerts", params={"inhibited": "false"}).json()
        finally:
            server.terminate()
    assert sorted((each["labels"]["campaign"], each["labels"].get("source")) for each in heard) == [
        ("c", None),
        ("d", "douyin"),
        ("d", "kuaishou"),
    ]


def until(is_so: Callable[[], bool], within_s: float = 20) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_the_operators_page_lists_every_alert() -> None:
    page = (DEPLOY.parent / "docs" / "operations" / "watching.md").read_text()
    assert [name for name in ALERTS if name not in page] == []
