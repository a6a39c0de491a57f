"""`fanzha preflight`: what it makes of a machine, and the command itself on this one."""

import json
import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.init_texts import PREFLIGHT, env_text
from cli.main import app
from devstack.home import REPOSITORY
from upkeep import check_host
from upkeep.findings import Level
from upkeep.sizing import GIB, Sizes, sizes

CITY, PROVINCE = sizes(1_000_000), sizes(7_000_000)


@pytest.mark.parametrize(
    ("version", "fine"),
    [
        ("20.10.24", True),
        ("28.2.2", True),
        ("v27.0", True),
        ("20.9.9", False),
        ("19.03.1", False),
        ("", False),
        (None, False),
    ],
)
def test_the_engine(version: str | None, fine: bool) -> None:
    assert (check_host.judge_engine(version).level is Level.OK) is fine


@pytest.mark.parametrize(
    ("version", "fine"),
    [("1.29.2", True), ("2.20.0", True), ("v2.24.6-desktop.1", True), ("1.28.9", False), (None, False)],
)
def test_compose(version: str | None, fine: bool) -> None:
    assert (check_host.judge_compose(version).level is Level.OK) is fine


@pytest.mark.parametrize(
    ("gib", "wanted", "fine"), [(7.6, CITY, True), (3.8, CITY, False), (15.5, PROVINCE, True), (7.6, PROVINCE, False)]
)
def test_memory(gib: float, wanted: Sizes, fine: bool) -> None:
    finding = check_host.judge_memory(int(gib * GIB), wanted)
    assert (finding.level is Level.OK) is fine
    assert f"{wanted.memory_gib} GiB" in finding.text


def test_disk_and_processors() -> None:
    assert check_host.judge_disk(Path("/"), 60 * GIB, CITY).level is Level.OK
    assert check_host.judge_disk(Path("/"), 60 * GIB, PROVINCE).level is Level.PROBLEM
    assert check_host.judge_cpus(2, {"POSTGRES_CPUS": "2.0"}).level is Level.OK
    assert check_host.judge_cpus(2, {"POSTGRES_CPUS": "4.0"}).level is Level.PROBLEM


def test_it_knows_every_port_that_compose_publishes() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text()
    lines = "".join(re.findall(r"^    ports: .*$", text, re.MULTILINE))
    published = dict(re.findall(r"\$\{(\w+):-([\d-]+)}:\d", lines))
    assert published == {key: default for key, (default, _) in check_host.FIXED.items()}
    env = check_host.env_settings(env_text(None, CITY))
    assert {key for key, _, _ in check_host.ports(env)} == {
        key for key, (_, profile) in check_host.FIXED.items() if profile != "proxy"
    }
    proxied = env | {"COMPOSE_PROFILES": "monitoring,proxy", "OFFICE_ADDRESS": "10.0.0.5"}
    assert ("OFFICE_PORTS", "10.0.0.5", 8443) in check_host.ports(proxied)


def test_a_port_that_is_taken_and_an_address_of_another_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        env = {"COMPOSE_PROFILES": "proxy", "PUBLIC_ADDRESS": "192.0.2.1", "GRAFANA_PORT": "1"}
        env |= {key: "0" for key in check_host.FIXED} | {"CHECKIN_PORT": str(number)}
        findings = {finding.subject: finding.text for finding in check_host.judge_ports(env, visible=True)}
    assert findings == {
        f"127.0.0.1:{number}（CHECKIN_PORT）": "已被占用",
        "192.0.2.1:0（PUBLIC_PORT）": "本机没有这个地址",
    }
    (unseen,) = check_host.judge_ports(env, visible=False)
    assert "--network host" in unseen.remedy


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert "fanzha init" in run(app, ["preflight", "--directory", str(tmp_path)]).stderr
    (tmp_path / ".env").write_text(env_text(None, sizes(90_000_000)))
    done = run(app, ["preflight", "--directory", str(tmp_path), "--engine", "28.2.2", "--compose", "1.20", "--json"])
    assert done.exit_code == 1
    findings = {finding["check"]: finding["level"] for finding in json.loads(done.stdout)}
    assert {"engine": "ok", "compose": "problem", "memory": "problem"}.items() <= findings.items()


def test_the_page_and_the_steps_give_the_same_command() -> None:
    page = (REPOSITORY / "docs" / "operations" / "install.md").read_text()
    assert PREFLIGHT.replace("\\\n         ", "") in page.replace("\\\n    ", "")
