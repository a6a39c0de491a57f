"""`fanzha init`: what it writes, whose it is, that it never writes twice, and what it adds for a newer version."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.init_command import env_text
from cli.main import app
from devstack.home import read_env
from upkeep.missing import keys_of
from upkeep.secret_files import OWNERS, DeploymentSecrets, secret_files, words

run = CliRunner().invoke


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    result = run(app, ["init", "--directory", str(tmp_path), "--domain", "fanzha.example.org"])
    assert result.exit_code == 0, result.output
    assert "docker compose up -d" in result.stdout
    return tmp_path


def test_the_folder_is_closed_and_files_are_for_reading_only(deployment: Path) -> None:
    folder = deployment / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((deployment / ".env").stat().st_mode) == 0o600
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == ({0o400} if os.geteuid() == 0 else {0o444})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_each_file_is_its_containers(deployment: Path) -> None:
    owners = {path.name: path.stat().st_uid for path in (deployment / "secrets").iterdir()}
    assert owners == OWNERS


@pytest.mark.parametrize("kept", [".env", "secrets"])
def test_never_overwrites(deployment: Path, kept: str) -> None:
    other = ({".env", "secrets"} - {kept}).pop()
    (deployment / other).rename(deployment / "put-aside")
    before = {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()}
    result = run(app, ["init", "--directory", str(deployment)])
    assert result.exit_code == 1
    assert kept in result.stderr
    assert "--add-missing" in result.stderr
    assert {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()} == before


def test_two_deployments_share_no_secret() -> None:
    first, second = (secret_files(DeploymentSecrets(), "a.example") for _ in range(2))
    assert [name for name in first if first[name] == second[name]] == []


def test_nothing_secret_stands_in_env() -> None:
    env = env_text("fanzha.example.org")
    for name, text in secret_files(DeploymentSecrets(), "fanzha.example.org").items():
        secret = words([text])
        assert secret, f"{name}: nothing in it would be seen"
        assert not [word for word in secret if word in env]


def test_a_service_gets_no_key_of_another(deployment: Path) -> None:
    own = {
        name: read_env(deployment / "secrets" / f"{name}.env") for name in ("checkin", "notification", "certificate")
    }
    assert "SEALING_PRIVATE_KEY" not in own["checkin"]
    assert own["notification"]["CONTACT_KEYS"] != own["certificate"]["CONTACT_KEYS"]
    assert set(json.loads(own["checkin"]["SEALING_PUBLIC_KEYS"])) == {"certificate", "notification"}
    assert all("MIGRATION_DATABASE_URL" not in variables for variables in own.values())


# ---- --add-missing: an existing deployment, a newer version ----------------------------------------------------------


def add_missing(deployment: Path, *more: str) -> Result:
    return run(app, ["init", "--directory", str(deployment), "--add-missing", *more])


def contents(deployment: Path) -> dict[str, str]:
    return {str(path.relative_to(deployment)): path.read_text() for path in deployment.rglob("*") if path.is_file()}


def take_out(path: Path, *keys: str) -> dict[str, str]:
    """Removes the lines of `keys`, and answers with what they said."""
    was = read_env(path)
    kept = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(tuple(keys))]
    path.write_text("".join(kept))
    return {key: was[key] for key in keys}


def test_nothing_is_missing_after_init(deployment: Path) -> None:
    before = contents(deployment)
    done = add_missing(deployment)
    assert (done.exit_code, done.stdout) == (0, "什么也不缺，没有改动\n")
    assert contents(deployment) == before


def test_what_is_missing_is_added_and_nothing_else_changes(deployment: Path) -> None:
    """As from before Grafana, its role and the times of backups."""
    secrets, env = deployment / "secrets", deployment / ".env"
    (secrets / "grafana_admin").unlink()
    (secrets / "reporting_reader").unlink()
    take_out(secrets / "provision.env", "REPORTING_READER_PASSWORD")
    take_out(env, "BACKUP_AT")
    env.write_text(env.read_text().rstrip("\n") + "\nLOG_LEVEL=DEBUG")  # of one's own, and no newline at the end
    before = contents(deployment)
    done = add_missing(deployment)
    after = contents(deployment)
    assert done.exit_code == 0, done.output
    for name in ("grafana_admin", "reporting_reader", "provision.env（REPORTING_READER_PASSWORD）", "：BACKUP_AT"):
        assert name in done.stdout
    assert {name for name in after if after[name] != before.get(name)} == {
        ".env",
        *(f"secrets/{name}" for name in ("grafana_admin", "reporting_reader", "provision.env")),
    }
    assert after[".env"].startswith(before[".env"] + "\n")
    assert read_env(env)["LOG_LEVEL"] == "DEBUG"
    assert after["secrets/provision.env"].startswith(before["secrets/provision.env"])
    assert read_env(secrets / "provision.env")["REPORTING_READER_PASSWORD"] == after["secrets/reporting_reader"]
    assert add_missing(deployment).stdout == "什么也不缺，没有改动\n"


def test_no_value_is_shown(deployment: Path) -> None:
    (deployment / "secrets" / "provision.env").unlink()
    (deployment / "secrets" / "grafana_admin").unlink()
    done = add_missing(deployment)
    assert done.exit_code == 0, done.output
    for path in (deployment / "secrets").iterdir():
        assert not [word for word in words([path.read_text()]) if word in done.output]


def test_what_is_added_has_the_owner_and_the_mode_that_init_gives(deployment: Path) -> None:
    def owners() -> dict[str, tuple[int, int, int]]:
        paths = [deployment / ".env", *(deployment / "secrets").iterdir()]
        return {path.name: (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in paths}

    before = owners()
    (deployment / "secrets" / "postgres_exporter").unlink()
    (deployment / "secrets" / "grafana_admin").unlink()
    take_out(deployment / "secrets" / "nats.env", "NATS_LIVE_PASSWORD")
    take_out(deployment / ".env", "BACKUP_KEEP")
    assert add_missing(deployment).exit_code == 0
    assert owners() == before


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("provision.env", ("CHECKIN_APP_PASSWORD", "CERTIFICATE_OWNER_PASSWORD", "POSTGRES_PASSWORD")),
        ("nats.env", ("NATS_CHECKIN_PASSWORD", "NATS_LIVE_PASSWORD", "NATS_TOPOLOGY_PASSWORD")),
        ("checkin.env", ("DATABASE_URL", "NATS_URL", "TOKEN_PUBLIC_KEY", "SEALING_PUBLIC_KEYS", "WEBHOOK_SOURCES")),
        ("certificate_owner.env", ("MIGRATION_DATABASE_URL",)),
        ("operator.env", ("WEBHOOK_SECRET", "LIVE_NATS_URL")),
    ],
)
def test_what_another_file_still_tells_comes_back_the_same(deployment: Path, name: str, keys: tuple[str, ...]) -> None:
    was = take_out(deployment / "secrets" / name, *keys)
    assert add_missing(deployment).exit_code == 0
    assert {key: read_env(deployment / "secrets" / name)[key] for key in keys} == was


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("checkin.env", "LINK_KEY"),
        ("notification.env", "CONTACT_KEYS"),
        ("certificate.env", "CERTIFICATE_SIGNING_KEY"),
        ("operator.env", "TOKEN_SIGNING_KEY"),
        ("certificate.env", ""),
        ("tls_key.pem", ""),
    ],
)
def test_a_key_that_was_lost_is_not_made_up(deployment: Path, name: str, key: str) -> None:
    """With another one in its place nobody would notice, and names and certificates could not be read again."""
    if key:
        take_out(deployment / "secrets" / name, key)
    else:
        (deployment / "secrets" / name).unlink()
    (deployment / "secrets" / "grafana_admin").unlink()
    before = contents(deployment)
    done = add_missing(deployment)
    assert done.exit_code == 1
    assert name in done.stderr
    assert key in done.stderr
    assert "--secrets-only" in done.stderr
    assert contents(deployment) == before


def test_a_project_keeps_its_name_and_its_parts(deployment: Path) -> None:
    """Another project name means other volumes: an empty database."""
    take_out(deployment / ".env", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "ENVIRONMENT")
    assert add_missing(deployment).exit_code == 0
    assert not {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"} & keys_of((deployment / ".env").read_text())
    assert read_env(deployment / ".env")["ENVIRONMENT"] == "production"


def test_an_address_comes_from_the_domain_that_the_other_one_has(deployment: Path) -> None:
    was = take_out(deployment / ".env", "CERTIFICATE_PUBLIC_URL")
    assert add_missing(deployment).exit_code == 0
    assert was == {"CERTIFICATE_PUBLIC_URL": "https://fanzha.example.org"}
    assert read_env(deployment / ".env")["CERTIFICATE_PUBLIC_URL"] == was["CERTIFICATE_PUBLIC_URL"]


def test_add_missing_without_a_deployment_says_so(tmp_path: Path) -> None:
    done = add_missing(tmp_path)
    assert done.exit_code == 1
    assert "fanzha init" in done.stderr
    assert list(tmp_path.iterdir()) == []
