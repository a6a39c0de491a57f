"""The files below `secrets/` against each other: a password that stands in two places is one password."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devstack.secrets import NATS_USERS
from shared import env_files
from shared.bus.topology import SERVICES
from shared.os_errors import os_reason
from upkeep import expiry
from upkeep.deployment import Deployment
from upkeep.expiry import Expiry
from upkeep.findings import Finding, ok, problem, warning
from upkeep.secret_files import ALERT_RECEIVERS

Files = Mapping[str, Mapping[str, str]]

SOON = timedelta(days=21)  # deploy/prometheus/rules/platform.yml says the same
QUOTING = "数据库地址里的口令，% @ / : # ? 空格等写成 %25 %40 %2F %3A %23 %3F %20；provision.env、nats.env 里照原样写"


async def check(deployment: Deployment) -> list[Finding]:
    """Findings about the files in `secrets/`; none in a dev stack, which has no such files."""
    if deployment.secrets_folder is None:
        return []
    files, unreadable = read(deployment.secrets_folder)
    return [
        *unreadable,
        *judge_passwords(files),
        *judge_receivers(files.get("alerts")),
        *judge_expiries(expiry.expiries_in(deployment.secrets_folder), datetime.now(UTC)),
    ]


def read(folder: Path) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The variables of each `.env` file by its name without the ending, and what is wrong with those that cannot be read."""
    files, findings = {}, []
    for path in sorted(folder.glob("*.env")):
        try:
            files[path.stem] = env_files.read(path)
        except env_files.Ambiguous as error:
            findings.append(problem("secrets", path.name, str(error), "改好这一行，再 docker compose up -d"))
        except OSError as error:
            findings.append(problem("secrets", path.name, f"读不了：{os_reason(error)}", "用 root 运行"))
    return files, findings


def judge_passwords(files: Files) -> Iterator[Finding]:
    """The file that sets a password (provision.env, nats.env) and every URL that uses it must have the same one."""
    differ = False
    for setter, key, user, variable in _twice():
        if key not in files.get(setter, {}) or variable not in files.get(user, {}):
            continue  # another check reports missing files
        if files[setter][key] != _password(files[user][variable]):
            differ = True
            text = f"{variable} 里的口令与 {setter}.env 的 {key} 不同，会连不上"
            yield problem("passwords", f"{user}.env", text, f"两处改成同一个口令。{QUOTING}")
    if not differ:
        yield ok("passwords", "secrets", "数据库和 NATS 的口令两处一致")


def judge_receivers(alerts: Mapping[str, str] | None) -> Iterator[Finding]:
    if alerts is None:
        return  # another check reports a missing or unreadable file
    told = [key for key in ALERT_RECEIVERS if alerts.get(key) and key.endswith(("WEBHOOK_URL", "MAIL_TO"))]
    mail = any(key.endswith("MAIL_TO") for key in told)
    lacking = [key for key in ("ALERT_MAIL_FROM", "ALERT_SMTP") if mail and not alerts.get(key)]
    if lacking:
        text = f"写了收件人，没有写 {'、'.join(lacking)}：Alertmanager 起不来"
        yield problem("alerts", "alerts.env", text, "补上，再 docker compose up -d --force-recreate alertmanager")
    elif told:
        yield ok("alerts", "alerts.env", f"报警发给 {'、'.join(told)}")
    else:
        remedy = "在 secrets/alerts.env 写 ALERT_WEBHOOK_URL 或 ALERT_MAIL_TO（docs/operations/watching.md）"
        yield warning("alerts", "alerts.env", "报警没有人收到：只在看板和 Alertmanager 上看得到", remedy)


def judge_expiries(expiries: Iterable[Expiry], now: datetime) -> Iterator[Finding]:
    for expiring in expiries:
        text = f"{'已经' if expiring.at <= now else ''}在 {expiring.at:%Y-%m-%d %H:%M} UTC 到期"
        remedy = f"换新的：deploy/runbooks/{'TlsExpiring' if expiring.kind == 'tls' else 'TokenExpiring'}.md"
        if expiring.at <= now:
            yield problem("expiry", expiring.name, text, remedy)
        elif expiring.at - now < SOON:
            yield warning("expiry", expiring.name, f"{text}，还有 {(expiring.at - now).days} 天", remedy)
        else:
            yield ok("expiry", expiring.name, text)


def _twice() -> Iterator[tuple[str, str, str, str]]:
    """Pairs: file and key where a password is set, and file and key of the URL that uses it."""
    for service in SERVICES:
        upper = service.upper()
        yield "provision", f"{upper}_APP_PASSWORD", service, "DATABASE_URL"
        yield "provision", f"{upper}_OWNER_PASSWORD", f"{service}_owner", "MIGRATION_DATABASE_URL"
    for user in NATS_USERS:
        file, variable = ("operator", "LIVE_NATS_URL") if user == "live" else (user, "NATS_URL")
        yield "nats", f"NATS_{user.upper()}_PASSWORD", file, variable


def _password(url: str) -> str | None:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return None
