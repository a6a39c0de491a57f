"""`fanzha token create`: who may do what, as a token signed with the deployment's key (DESIGN §5)."""

import base64
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.client import client, fail
from devstack.home import Home
from shared.clock import CHINA, local_text
from shared.contracts.base import ID_PATTERN
from shared.service.tokens import ALL_CAMPAIGNS, Role, create_token

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="访问令牌")

VALID_MAX_DAYS = 730
SUBJECT_MAX_CHARS = 100
KEY_BYTES = 32


@app.callback()
def tokens() -> None:
    """访问令牌。"""


@app.command()
def create(
    role: Annotated[Role, typer.Option(help="admin 管理、office 反诈办、auditor 只读、liaison 联络员")],
    subject: Annotated[str, typer.Option(help="给谁：姓名或岗位，写入操作记录")],
    campaign: Annotated[str, typer.Option(help="只用于这个活动；只有 admin 可写 * 表示全部")] = "",
    unit: Annotated[str, typer.Option(help="只能看这个单位代码及其下级；不写是全部单位")] = "",
    days: Annotated[int, typer.Option(min=1, max=VALID_MAX_DAYS, help="有效天数")] = 30,
    offline: Annotated[bool, typer.Option("--offline", help="系统没有运行时用：不核对活动和单位是否存在")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON，供脚本使用")] = False,
) -> None:
    """签发令牌。令牌写到标准输出，说明写到标准错误。"""
    campaign = campaign or (ALL_CAMPAIGNS if role == "admin" else "")
    if not subject.strip() or len(subject) > SUBJECT_MAX_CHARS or not subject.isprintable():
        fail(f"--subject 要写明给谁，最多 {SUBJECT_MAX_CHARS} 个字符")
    if not campaign or (campaign == ALL_CAMPAIGNS and role != "admin"):
        fail(f"{role} 的令牌必须写明 --campaign 活动ID")
    if campaign != ALL_CAMPAIGNS and not re.fullmatch(ID_PATTERN, campaign):
        fail(f"--campaign “{campaign}”不是活动 ID，例如 jinshan-2024")
    if unit and not re.fullmatch(ID_PATTERN, unit):
        fail(f"--unit “{unit}”不是单位代码，例如 140902")
    if role == "liaison" and not unit:
        fail("联络员的令牌必须写明 --unit 单位代码，否则能看到所有单位")
    if campaign != ALL_CAMPAIGNS and not offline:
        _require_known(campaign, unit)
    valid_for = timedelta(days=days)
    token = create_token(
        _signing_key(), subject=subject.strip(), role=role, campaign=campaign, unit=unit or None, valid_for=valid_for
    )
    until = datetime.now(UTC) + valid_for
    if as_json:
        content = {"token": token, "role": role, "subject": subject.strip(), "campaign": campaign, "unit": unit or None}
        typer.echo(json.dumps(content | {"expires_at": until.isoformat(timespec="seconds")}, ensure_ascii=False))
        return
    scope = f"活动 {campaign}，{'单位 ' + unit + ' 及其下级' if unit else '全部单位'}"
    typer.echo(
        f"{role}（{subject.strip()}）：{scope}，有效至 {local_text(until, CHINA)}。令牌等同密码，请勿转发", err=True
    )
    typer.echo(token)


def _require_known(campaign: str, unit: str) -> None:
    """Ends the command for an unknown code. A token with a mistyped code opens nothing, which would show only when somebody needs
    it."""
    with client("checkin") as checkin:
        response = checkin.find(f"/v1/campaigns/{campaign}")
    if response is None:
        fail(f"系统中没有活动 {campaign}。有哪些活动：fanzha campaign list；还没有定义活动就要签发，加 --offline")
    if unit and unit not in {row["unit_code"] for row in response.json()["units"]}:
        fail(f"活动 {campaign} 的单位树里没有 {unit}。单位代码见活动文件；先签发后加单位，用 --offline")


def _signing_key() -> str:
    """Ed25519, raw, base64: `TOKEN_SIGNING_KEY`, else the dev stack's."""
    key = os.environ.get("TOKEN_SIGNING_KEY")
    secrets = Home.from_environment().secrets
    if not key and secrets.exists():
        key = json.loads(secrets.read_text()).get("token_private_key")
    if not key:
        fail(f"没有签名密钥：环境变量 TOKEN_SIGNING_KEY 没有设置，{secrets} 也不存在。请设置它，或先运行 make up")
    try:
        valid = len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except ValueError:
        valid = False
    if not valid:
        fail(f"TOKEN_SIGNING_KEY 应是 base64 的 Ed25519 私钥（{KEY_BYTES} 字节）")
    return key
