"""One meaning of a `KEY='value'` line: what the shell of a job reads, the services' settings and the commands read too."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from sqlalchemy import make_url

from devstack.home import REPOSITORY
from devstack.secrets import POSTGRES_ROLES
from shared import env_files
from shared.env_files import Ambiguous
from shared.settings import DatabaseUrl, EnvironmentSettings, NatsUrl
from upkeep import check_secrets, expiry
from upkeep.findings import Level
from upkeep.secret_files import ALERT_RECEIVERS, DeploymentSecrets, secret_files

PASSWORDS = [
    "pa$$word$HOME",
    "pa${HOME}ss",
    "it's",
    'say "x"',
    "a@b",
    "100%",
    "%41",
    "a#b",
    "# no comment",
    "a/b?c",
    "two words",
    " at both ends ",
    "a:b+c",
    "back\\slash`id`",
    "口令",
    "",
]


class Settings(EnvironmentSettings):
    given: str


def by_the_shell(path: Path, key: str) -> str:
    """The value as provision.sh and the NATS container read it."""
    done = subprocess.run(
        ["/bin/sh", "-euc", '. "$0"; eval "copy=\\$$1"; printf %s "$copy"', str(path), key],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_means_the_same_to_shell_service_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    path = tmp_path / "x.env"
    path.write_text(env_files.text_of({"GIVEN": password}))
    monkeypatch.setenv("SECRETS_FILE", str(path))
    assert by_the_shell(path, "GIVEN") == env_files.read(path)["GIVEN"] == Settings().given == password  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("GIVEN=a#b%c@d", "a#b%c@d"),
        ('GIVEN="two words"', "two words"),
        ("export GIVEN='x'", "x"),
        ("GIVEN='x'  ", "x"),
        ("# a comment\n\nGIVEN='it'\"'\"'s'", "it's"),
        ("GIVEN=", ""),
    ],
)
def test_what_a_person_may_write(tmp_path: Path, line: str, value: str) -> None:
    path = tmp_path / "x.env"
    path.write_text(line + "\n")
    assert by_the_shell(path, "GIVEN") == env_files.read(path)["GIVEN"] == value


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("GIVEN=pa$$word", "“$”"),
        ('GIVEN="pa$HOME"', "引号里有 "),
        ("GIVEN=two words", "空格"),
        ("GIVEN=x # note", "空格"),
        ("GIVEN=it's", "没有合上"),
        ("GIVEN=a\\b", "“\\”"),
        ("GIVEN=a;b", "“;”"),
        ("GIVEN='x'\r", "Windows"),
        ("GIVEN = x", "等号两边"),
        ("GIVEN:x", "KEY='值'"),
    ],
)
def test_what_shell_and_program_would_read_differently_is_refused_and_not_shown(
    tmp_path: Path, line: str, why: str
) -> None:
    path = tmp_path / "x.env"
    path.write_text(f"OTHER='1'\n{line}\n", newline="")
    with pytest.raises(Ambiguous, match=r"x\.env 第 2 行") as refused:
        env_files.read(path)
    assert why in str(refused.value)
    assert "pa$" not in str(refused.value)


# ---- passwords in URLs -----------------------------------------------------------------------------------------------


class Urls(EnvironmentSettings):
    database_url: DatabaseUrl = "postgresql://h/d"
    nats_url: NatsUrl = "nats://h"


@pytest.mark.parametrize("password", [password for password in PASSWORDS if password])
def test_a_password_in_a_database_url_is_the_one_that_provisioning_sets(password: str) -> None:
    secrets = DeploymentSecrets(postgres=dict.fromkeys(POSTGRES_ROLES, password))
    files = {name: env_files.parse(text) for name, text in secret_files(secrets, "x").items() if name.endswith(".env")}
    assert files["provision.env"]["CHECKIN_APP_PASSWORD"] == password
    url = Urls(database_url=files["checkin.env"]["DATABASE_URL"]).database_url
    assert make_url(url).password == password


@pytest.mark.parametrize("password", ["a@b", "a/b", "a#b", "100%", "a b", "a?b", "a%zz"])
def test_a_password_that_is_not_quoted_in_its_url_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(ValidationError, match="%40") as refused:
        Urls(database_url=f"postgresql://r:{password}@h:5432/d")
    assert f"r:{password}" not in str(refused.value)


@pytest.mark.parametrize("password", ["a@b", "a%40b", "a/b", "a#b"])
def test_nats_knows_no_quoting(password: str) -> None:
    with pytest.raises(ValidationError, match="NATS 的口令"):
        Urls(nats_url=f"nats://u:{password}@h:4222")


@pytest.mark.parametrize(
    ("password", "runs"),
    [("pw_1", True), ("a$b", False), ("1a", False), ("a b", False), ("it's", False), ("a@b", False), ("", False)],
)
def test_the_nats_server_does_not_start_with_a_password_that_it_would_read_otherwise(
    tmp_path: Path, password: str, runs: bool
) -> None:
    start = REPOSITORY / "deploy" / "nats" / "start.sh"
    variables = {"PATH": os.environ["PATH"], "NATS_CHECKIN_PASSWORD": "fine", "NATS_LIVE_PASSWORD": password}
    done = subprocess.run(
        ["/bin/sh", str(start), str(tmp_path), "echo", "started"], env=variables, capture_output=True, text=True
    )
    assert (done.returncode == 0, "started" in done.stdout) == (runs, runs)
    assert ("NATS_LIVE_PASSWORD" in done.stderr) is not runs


# ---- what the doctor says --------------------------------------------------------------------------------------------


def written(folder: Path, **changed: str) -> Path:
    for name, text in secret_files(DeploymentSecrets(), "x").items():
        (folder / name).write_text(changed.get(name.removesuffix(".env"), text))
    return folder


def told(folder: Path) -> list[tuple[str, str]]:
    files, unreadable = check_secrets.read(folder)
    findings = [*unreadable, *check_secrets.judge_passwords(files)]
    return [(finding.check, finding.subject) for finding in findings if finding.level is Level.PROBLEM]


def test_passwords_that_agree(tmp_path: Path) -> None:
    assert told(written(tmp_path)) == []


def test_passwords_that_differ_are_named(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        checkin_owner="MIGRATION_DATABASE_URL='postgresql://checkin_owner:x@postgres/d'\n",
        topology="NATS_URL='nats://topology:x@nats:4222'\n",
    )
    assert told(folder) == [("passwords", "checkin_owner.env"), ("passwords", "topology.env")]


def test_a_line_that_could_be_read_in_two_ways_is_named(tmp_path: Path) -> None:
    assert told(written(tmp_path, operator="WEBHOOK_SECRET=a b\n")) == [("secrets", "operator.env")]


@pytest.mark.parametrize(
    ("alerts", "level"),
    [
        ({}, Level.WARNING),
        ({"ALERT_SMTP": "mail:25"}, Level.WARNING),
        ({"ALERT_WEBHOOK_URL": "http://robot"}, Level.OK),
        ({"ALERT_MAIL_TO": "a@b.cn"}, Level.PROBLEM),
        ({"ALERT_MAIL_TO": "a@b.cn", "ALERT_MAIL_FROM": "f@b.cn", "ALERT_SMTP": "mail:25"}, Level.OK),
    ],
)
def test_whether_anybody_hears_of_an_alert(alerts: dict[str, str], level: Level) -> None:
    (finding,) = check_secrets.judge_receivers(dict.fromkeys(ALERT_RECEIVERS, "") | alerts)
    assert finding.level is level


def test_what_runs_out_is_said_before_it_does(tmp_path: Path) -> None:
    issued = datetime.now(UTC)
    expiries = expiry.expiries_in(written(tmp_path))
    assert {expiring.name for expiring in expiries} == {"tls_certificate.pem", "operator.env（ADMIN_TOKEN）"}
    year = timedelta(days=365)
    for before, level in (
        (timedelta(days=22), Level.OK),
        (timedelta(days=20), Level.WARNING),
        (-timedelta(days=1), Level.PROBLEM),
    ):
        findings = list(check_secrets.judge_expiries(expiries, issued + year - before))
        assert [finding.level for finding in findings] == [level, level], before
    expiry.write_metrics(tmp_path, tmp_path)
    (family,) = text_string_to_metric_families((tmp_path / expiry.METRICS).read_text())
    assert {sample.labels["kind"]: sample.value for sample in family.samples} == {
        expiring.kind: pytest.approx(expiring.at.timestamp()) for expiring in expiries
    }
