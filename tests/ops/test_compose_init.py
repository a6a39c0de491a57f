"""`fanzha init`: what it writes, whose it is, and that it never writes twice."""

import json
import os
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.init_command import DeploymentSecrets, SecretFile, env_text, secret_files
from deploy.cli.main import app
from deploy.devstack.home import read_env

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
    assert owners == {file.name: file.owner for file in secret_files(DeploymentSecrets(), "localhost")}


@pytest.mark.parametrize("kept", [".env", "secrets"])
def test_never_overwrites(deployment: Path, kept: str) -> None:
    other = ({".env", "secrets"} - {kept}).pop()
    (deployment / other).rename(deployment / "put-aside")
    before = {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()}
    result = run(app, ["init", "--directory", str(deployment)])
    assert result.exit_code == 1
    assert kept in result.stderr
    assert {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()} == before


def test_two_deployments_share_no_secret() -> None:
    first, second = (
        {file.name: file.text for file in secret_files(DeploymentSecrets(), "a.example")} for _ in range(2)
    )
    assert [name for name in first if first[name] == second[name]] == []


SECRET_WORD = re.compile(r"[A-Za-z0-9+/]{16,}")  # a password, a key, a line of a PEM body; no name of a key or a host


def secrets_in(text: str, files: list[SecretFile]) -> set[str]:
    """The files of which some word stands in `text`."""
    return {file.name for file in files if any(word in text for word in SECRET_WORD.findall(file.text))}


def test_nothing_secret_stands_in_env() -> None:
    files = secret_files(DeploymentSecrets(), "fanzha.example.org")
    env = env_text("fanzha.example.org")
    assert secrets_in(env, files) == set()
    for file in files:
        for word in SECRET_WORD.findall(file.text):
            assert file.name in secrets_in(f"{env}# {word}\n", files)
        assert SECRET_WORD.search(file.text), f"{file.name}: a secret that this test would not see"


def test_a_service_gets_no_key_of_another(deployment: Path) -> None:
    own = {
        name: read_env(deployment / "secrets" / f"{name}.env") for name in ("checkin", "notification", "certificate")
    }
    assert "SEALING_PRIVATE_KEY" not in own["checkin"]
    assert own["notification"]["CONTACT_KEYS"] != own["certificate"]["CONTACT_KEYS"]
    assert set(json.loads(own["checkin"]["SEALING_PUBLIC_KEYS"])) == {"certificate", "notification"}
    assert all("MIGRATION_DATABASE_URL" not in variables for variables in own.values())
