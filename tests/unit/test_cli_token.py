"""`fanzha token create`: the token says what was asked for, and dangerous requests are refused."""

import base64
import json
import re
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner, Result

from cli import token_commands
from shared.service.tokens import Principal, TokenVerifier
from tests.support.campaigns import campaign_content
from tests.support.json_server import JsonServer

KEY = SigningKey.generate()
PRIVATE = base64.b64encode(bytes(KEY)).decode()
VERIFIER = TokenVerifier(base64.b64encode(bytes(KEY.verify_key)).decode())


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FANZHA_HOME", str(tmp_path))
    monkeypatch.setenv("TOKEN_SIGNING_KEY", PRIVATE)
    return tmp_path


def create(*arguments: str) -> Result:
    return CliRunner().invoke(token_commands.app, ["create", *arguments])


LIAISON = (
    *("--role", "liaison", "--subject", "教育局联络员", "--campaign", "jinshan-2024", "--unit", "140902-EDU"),
    "--offline",
)


def test_standard_output_is_the_token_alone() -> None:
    done = create(*LIAISON)
    assert done.exit_code == 0, done.output
    assert VERIFIER.verify(done.stdout.strip()) == Principal("教育局联络员", "liaison", "jinshan-2024", "140902-EDU")
    assert re.search(r"有效至 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+08:00。", done.stderr)


def test_admin_is_for_all_campaigns_unless_said_otherwise() -> None:
    answer = json.loads(create("--role", "admin", "--subject", "运维", "--json").stdout)
    assert VERIFIER.verify(answer["token"]) == Principal("运维", "admin", "*", None)


def test_the_dev_stacks_key_is_used_where_none_is_set(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("TOKEN_SIGNING_KEY")
    (home / "secrets.json").write_text(json.dumps({"token_private_key": PRIVATE}))
    assert VERIFIER.verify(create(*LIAISON).stdout.strip()).role == "liaison"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--role", "office", "--subject", "x"), "--campaign"),
        (("--role", "office", "--subject", "x", "--campaign", "*"), "--campaign"),
        (("--role", "office", "--subject", "x", "--campaign", "反诈"), "不是活动 ID"),
        (("--role", "liaison", "--subject", "x", "--campaign", "c"), "--unit"),
        (("--role", "office", "--subject", "x", "--campaign", "c", "--unit", "a b"), "不是单位代码"),
        (("--role", "admin", "--subject", " "), "--subject"),
        (("--role", "admin", "--subject", "a\nb"), "--subject"),
    ],
)
def test_what_would_open_too_much_or_mean_nothing(arguments: tuple[str, ...], says: str) -> None:
    done = create(*arguments)
    assert done.exit_code == 1
    assert says in done.output
    assert done.stdout == ""


@pytest.mark.parametrize("key", [None, "not base64!", base64.b64encode(b"short").decode()])
def test_a_key_that_is_none(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv("TOKEN_SIGNING_KEY") if key is None else monkeypatch.setenv("TOKEN_SIGNING_KEY", key)
    done = create(*LIAISON)
    assert done.exit_code == 1
    assert "TOKEN_SIGNING_KEY" in done.output


def test_a_token_for_an_unknown_campaign_or_unit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    server = JsonServer()
    server.routes["GET", "/v1/campaigns/small-2024"] = lambda _: (200, campaign_content())
    with server.running() as url:
        monkeypatch.setenv("CHECKIN_URL", url)
        monkeypatch.setenv("ADMIN_TOKEN", "t")
        wanted = ("--role", "liaison", "--subject", "x", "--campaign")
        typo, elsewhere = create(*wanted, "smal-2024", "--unit", "111"), create(*wanted, "small-2024", "--unit", "112")
        known = create(*wanted, "small-2024", "--unit", "111")
    assert (typo.exit_code, elsewhere.exit_code, known.exit_code) == (1, 1, 0)
    assert "系统中没有活动 smal-2024" in typo.output
    assert "活动 small-2024 的单位树里没有 112" in elsewhere.output
    assert typo.stdout == elsewhere.stdout == ""
