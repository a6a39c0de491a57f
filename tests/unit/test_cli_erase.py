"""`fanzha erase` where a database does not answer: in plain Chinese what was done and what to do, the error itself behind it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.erase_commands import app
from devstack.ports import free_port
from devstack.secrets import Secrets
from shared.bus.topology import SERVICES

SECRETS = Secrets()


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment whose databases are not there."""
    url = f"postgresql://nobody:x@127.0.0.1:{free_port()}/nowhere"
    for service in SERVICES:
        (tmp_path / f"{service}.env").write_text(
            f"DATABASE_URL={url}\nCERTIFICATE_SIGNING_KEY={SECRETS.certificate_signing_key}\nCONTACT_KEYS={{}}\n"
        )
        (tmp_path / f"{service}_owner.env").write_text(f"MIGRATION_DATABASE_URL={url}\n")
    (tmp_path / "topology.env").write_text("NATS_URL=nats://nobody@127.0.0.1:1\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["viewer", "c", "v"], "没有查成，什么也没有改：数据库连接被拒绝，那里没有程序在等。fanzha doctor 会说"),
        (
            ["viewer", "c", "v", "--yes", "--by", "王工"],
            "没有删完：数据库连接被拒绝，那里没有程序在等。已经删除的不会恢复",
        ),
        (["campaign", "c", "--yes", "--by", "王工"], "没有删完"),
        (["due"], "没有查成"),
        (["log"], "没有查成"),
    ],
)
def test_a_database_that_is_away_is_told_in_chinese(command: list[str], says: str) -> None:
    told = CliRunner().invoke(app, command)
    plain, details = told.stderr.split("\n技术细节：")
    assert (told.exit_code, plain.startswith(says), plain.isascii()) == (1, True, False), told.stderr
    assert "fanzha doctor" in plain
    assert "Connect call failed" in details
    assert not any(word in plain for word in ("Errno", "Error", "Connect"))
