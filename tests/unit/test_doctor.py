"""What the doctor makes of what it found: each finding seen in red and in green."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.doctor_command import examine
from shared.bus import topology
from shared.database.migrate import newest_schema
from upkeep import check_databases, check_machine, check_nats, check_services, secret_files
from upkeep.check_databases import State
from upkeep.check_services import Answer
from upkeep.deployment import Deployment, NotFound
from upkeep.findings import Finding, Level, ok
from upkeep.secret_files import FANZHA, DeploymentSecrets

NOW = datetime(2024, 6, 29, 12, tzinfo=UTC)
GIB = 1024**3


def bad(findings: Any) -> set[tuple[str, str]]:
    return {(finding.check, str(finding.level)) for finding in findings if finding.level is not Level.OK}


# ---- services ------------------------------------------------------------------------------------------------------------


def answer(code: int = 200, **more: Any) -> Answer:
    body = {"status": "ready", "checks": {"database": "ok", "bus": "ok"}, "clock": NOW.isoformat()}
    return Answer(code, body | more, NOW, NOW)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(), set()),
        (answer(status="degraded", checks={"bus": "not connected to NATS"}), {("services", "warning")}),
        (answer(503, status="unavailable", checks={"database": "not reachable"}), {("services", "problem")}),
        (Answer(error="ConnectError"), {("services", "problem")}),
        (answer(clock="2024-07-01T00:00:00+08:00"), {("simulated_clock", "warning")}),
        (Answer(200, {"status": "ready", "checks": {}}, NOW + timedelta(seconds=6), NOW), {("clock", "problem")}),
        (Answer(200, {"status": "ready", "checks": {}}, NOW - timedelta(seconds=4), NOW), set()),
    ],
)
def test_services(given: Answer, expected: set[tuple[str, str]]) -> None:
    assert bad(check_services.judge("checkin", given)) == expected


def test_the_reason_of_a_service_that_is_not_ready_is_told() -> None:
    (finding,) = check_services.judge(
        "reporting", answer(503, status="unavailable", checks={"bus": "not connected"}, clock=None)
    )
    assert "NATS：not connected" in finding.text


# ---- databases -----------------------------------------------------------------------------------------------------------


def state(**more: Any) -> State:
    server = {
        "version": 180004,
        "now": NOW,
        "app_creates_tables": False,
        "app_creates_temporary": False,
        "app_is_powerful": False,
        "owner_is_superuser": False,
        "strangers": [],
    }
    settings = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "data_checksums": "on"}
    waiting = {"pending": 0, "oldest_s": 0.0, "dead_letters": 0, "held": None}
    given = {"server": server, "settings": settings, "waiting": waiting}
    merged = {key: value | more.get(key, {}) for key, value in given.items()}
    return State(
        NOW, merged["settings"], merged["server"], more.get("schema", newest_schema("checkin")), merged["waiting"]
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (state(), None),
        (state(settings={"synchronous_commit": "off"}), "postgres_settings"),
        (state(settings={"fsync": "off"}), "postgres_settings"),
        (state(settings={"full_page_writes": "off"}), "postgres_settings"),
        (state(settings={"data_checksums": "off"}), "postgres_settings"),
        (state(server={"version": 170002}), "version"),
        (state(server={"app_creates_tables": True}), "rights"),
        (state(server={"app_creates_temporary": True}), "rights"),
        (state(server={"app_is_powerful": True}), "rights"),
        (state(server={"owner_is_superuser": True}), "rights"),
        (state(server={"strangers": ["reporting_app"]}), "rights"),
        (state(server={"now": NOW + timedelta(minutes=1)}), "clock"),
        (state(schema="0000"), "schema"),
        (state(schema=None), "schema"),
        (state(schema="9999"), None),  # a later version was here: the previous one runs on it
        (state(waiting={"pending": 5, "oldest_s": 61.0}), "outbox"),
        (state(waiting={"pending": 5, "oldest_s": 2.0}), None),
        (state(waiting={"dead_letters": 1}), "dead_letters"),
        (state(waiting={"held": "reporting-totals"}), "held"),
    ],
)
def test_databases(given: State, expected: str | None) -> None:
    assert bad(check_databases.judge("checkin", given)) == ({(expected, "problem")} if expected else set())


def test_a_ledger_that_is_being_published_again_is_no_problem() -> None:
    findings = bad(check_databases.judge("checkin", state(waiting={"pending": 5, "oldest_s": float("inf")})))
    assert findings == {("outbox", "warning")}


# ---- NATS ----------------------------------------------------------------------------------------------------------------


def server(**more: Any) -> dict[str, Any]:
    return {"now": NOW.isoformat(), "version": "2.15.1"} | more


def store(*, config: dict[str, Any] | None = None, pending: int = 0, used: int = 0, **stream: Any) -> dict[str, Any]:
    def detail(name: str) -> dict[str, Any]:
        settings = {"max_bytes": GIB, "storage": "file", "discard": "new"} | stream
        names = [durable.name for durable in topology.DURABLES if durable.stream == name]
        consumers = [{"name": durable, "num_pending": pending} for durable in names]
        return {"name": name, "config": settings, "state": {"bytes": used}, "consumer_detail": consumers}

    streams = [detail(stream.name) for stream in topology.STREAMS]
    return {
        "config": {"sync_always": True, "max_storage": 4 * GIB} | (config or {}),
        "account_details": [{"stream_detail": streams}],
    }


@pytest.mark.parametrize(
    ("health", "given", "expected"),
    [
        ({"status": "ok"}, server(), None),
        ({"status": "unavailable", "error": "JetStream stream is not current"}, server(), "nats"),
        ({"status": "ok"}, server(version="2.9.10"), "version"),
        ({"status": "ok"}, server(version="2.12.0-RC.1"), None),
        ({"status": "ok"}, server(now="2024-06-29T12:01:00Z"), "clock"),
    ],
)
def test_the_nats_server(health: dict[str, Any], given: dict[str, Any], expected: str | None) -> None:
    assert bad(check_nats.judge_server(health, given, NOW)) == ({(expected, "problem")} if expected else set())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (store(), None),
        (store(config={"sync_always": False}), "nats_settings"),
        (store(config={"max_storage": GIB}), "nats_settings"),
        (store(used=GIB * 9 // 10), "stream_room"),
        (store(storage="memory"), "topology"),
        (store(discard="old"), "topology"),
        (store(pending=1_001), "lag"),
        (store(pending=1_000), None),
        ({"config": {"sync_always": True, "max_storage": GIB}, "account_details": []}, "topology"),
    ],
)
def test_streams(given: dict[str, Any], expected: str | None) -> None:
    findings = bad([*check_nats.judge_store(given), *check_nats.judge_streams(given)])
    assert findings == ({(expected, "problem")} if expected else set())


def test_a_durable_that_is_missing_is_named() -> None:
    given = store()
    gone = given["account_details"][0]["stream_detail"][0]["consumer_detail"].pop(0)
    findings = [finding for finding in check_nats.judge_streams(given) if finding.level is Level.PROBLEM]
    assert [(finding.check, finding.subject) for finding in findings] == [("topology", gone["name"])]


def test_nats_plans_to_use_more_disk_than_there_is(tmp_path: Path) -> None:
    assert bad(check_nats.judge_store(store(config={"store_dir": str(tmp_path), "max_storage": 10**18}))) == {
        ("disk", "problem")
    }


# ---- the machine and its settings ----------------------------------------------------------------------------------------


def secret(size: int) -> str:
    return "whsec_" + base64.b64encode(b"x" * size).decode()


def sources(*secrets: str, verifier: str = "standard") -> str:
    return json.dumps({"standard": {"verifier": verifier, "secrets": list(secrets)}})


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"ENVIRONMENT": "production", "CLOCK_FILE": "/clock"}, True),
        ({"ENVIRONMENT": "dev", "CLOCK_FILE": "/clock"}, False),
        ({"DATABASE_URL": "postgresql://a:postgres@h/d"}, True),
        ({"DATABASE_URL": "postgresql://a:short@h/d"}, True),
        ({"DATABASE_URL": "postgresql://a@h/d"}, True),
        ({"NATS_URL": "nats://a:pppppppppppppppppppppp@h"}, False),
        ({"WEBHOOK_SOURCES": sources(secret(32))}, False),
        ({"WEBHOOK_SOURCES": sources(secret(32), secret(8))}, True),
        ({"WEBHOOK_SOURCES": sources("not base64")}, True),
        ({"WEBHOOK_SOURCES": sources("short", verifier="kuaishou")}, True),
        ({"ENVIRONMENT": "production", "PUBLIC_URL": "http://fanzha.example"}, True),
        ({"ENVIRONMENT": "production", "PUBLIC_URL": "https://fanzha.example"}, False),
        ({"ENVIRONMENT": "production", "PUBLIC_URL": "http://127.0.0.1:8001"}, True),
        ({"ENVIRONMENT": "production", "PUBLIC_URL": "https://https://fanzha.example"}, True),
        ({"ENVIRONMENT": "dev", "PUBLIC_URL": "http://127.0.0.1:8001"}, False),
    ],
)
def test_settings(values: dict[str, str], wrong: bool) -> None:
    assert bad(check_machine.judge_environment("checkin", values)) == ({("settings", "problem")} if wrong else set())


@pytest.mark.parametrize(
    ("mode", "folder", "wrong"),
    [
        (0o600, 0o755, False),
        (0o400, 0o700, False),
        (0o444, 0o700, False),
        (0o644, 0o755, True),
        (0o640, 0o750, True),
        (0o666, 0o700, True),
    ],
)
def test_secrets_that_others_can_read(tmp_path: Path, mode: int, folder: int, wrong: bool) -> None:
    place = tmp_path / "secrets"
    place.mkdir()
    path = place / "checkin.env"
    path.write_text("KEY=1\n")
    os.chmod(path, mode)
    os.chmod(place, folder)
    assert bad(check_machine.judge_files((path,))) == ({("secret_files", "problem")} if wrong else set())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("mode", "folder", "file_group", "folder_group", "wrong"),
    [
        (0o440, 0o750, FANZHA, FANZHA, False),
        (0o444, 0o750, FANZHA, FANZHA, False),
        (0o444, 0o755, FANZHA, FANZHA, True),
        (0o460, 0o750, FANZHA, FANZHA, True),
        (0o440, 0o750, 1000, FANZHA, True),
        (0o440, 0o750, FANZHA, 1000, True),
    ],
)
def test_the_daily_backups_group_may_read(
    tmp_path: Path, mode: int, folder: int, file_group: int, folder_group: int, wrong: bool
) -> None:
    path = tmp_path / "secrets" / "checkin.env"
    path.parent.mkdir()
    path.touch()
    os.chown(path, -1, file_group)
    os.chown(path.parent, -1, folder_group)
    path.chmod(mode)
    path.parent.chmod(folder)
    assert bad(check_machine.judge_files((path,))) == ({("secret_files", "problem")} if wrong else set())


def test_a_secret_file_that_is_gone(tmp_path: Path) -> None:
    assert bad(check_machine.judge_files((tmp_path / "no.env",))) == {("secret_files", "problem")}


def test_a_secret_that_this_version_needs_and_the_deployment_lacks(tmp_path: Path) -> None:
    secret_files.write_all(tmp_path / "secrets", secret_files.secret_files(DeploymentSecrets(), "localhost"))
    assert list(check_machine.judge_missing(tmp_path / "secrets")) == []
    (tmp_path / "secrets" / "grafana_admin").unlink()
    link = tmp_path / "secrets" / "checkin.env"
    link.chmod(0o600)
    link.write_text(link.read_text().replace("LINK_KEY=", "OTHER_KEY="))
    findings = list(check_machine.judge_missing(tmp_path / "secrets"))
    assert {finding.subject for finding in findings} == {"grafana_admin", "checkin.env（LINK_KEY）"}
    assert bad(findings) == {("secrets", "problem")}
    assert all("fanzha init --add-missing" in finding.remedy for finding in findings)


@pytest.mark.parametrize("name", ["topology.env", "checkin_owner.env"])
@pytest.mark.parametrize("text", [None, "OTHER=1\n"])
def test_a_deployment_that_cannot_be_looked_at_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None
) -> None:
    secret_files.write_all(tmp_path / "secrets", secret_files.secret_files(DeploymentSecrets(), "localhost"))
    (tmp_path / "secrets" / name).unlink()
    if text is not None:
        (tmp_path / "secrets" / name).write_text(text)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "secrets"))
    with pytest.raises(NotFound, match=f"{name}.*fanzha init --add-missing"):
        Deployment.from_environment()


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("total", "free", "wrong"), [(100, 50, False), (100, 9, True), (20, 4, True), (1000, 90, True)]
)
def test_disk(total: int, free: int, wrong: bool) -> None:
    assert (
        check_machine.judge_disk(Path("/data"), Usage(total * GIB, (total - free) * GIB, free * GIB)).level
        is Level.PROBLEM
    ) is wrong


@pytest.mark.parametrize(
    ("names", "level"),
    [
        ((), Level.WARNING),
        (("fanzha-20240628T120000Z",), Level.OK),
        (("fanzha-20240601T120000Z", "fanzha-20240628T120000Z"), Level.OK),
        (("fanzha-20240628T090000Z",), Level.PROBLEM),
        ((".fanzha-20240629T110000Z.partial", "fanzha-notes"), Level.WARNING),
    ],
)
def test_backups(tmp_path: Path, names: tuple[str, ...], level: Level) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    (finding,) = check_machine.judge_backups(tmp_path, NOW)
    assert finding.level is level


def test_a_backup_of_the_future_hides_none_that_is_too_old(tmp_path: Path) -> None:
    for name in ("fanzha-20240601T120000Z", "fanzha-20310101T000000Z"):
        (tmp_path / name).mkdir()
    assert bad(check_machine.judge_backups(tmp_path, NOW)) == {("backup", "problem"), ("backup_clock", "warning")}


# ---- all together --------------------------------------------------------------------------------------------------------


async def test_a_check_that_fails_is_a_finding_and_hides_nothing() -> None:
    async def fine(_: Deployment) -> list[Finding]:
        return [ok("fine", "x", "好")]

    async def broken(_: Deployment) -> list[Finding]:
        raise KeyError("gone")

    findings = await examine(Deployment({}), {"a": broken, "b": fine})
    assert [(finding.check, finding.level) for finding in findings] == [("doctor", Level.PROBLEM), ("fine", Level.OK)]


def test_python() -> None:
    assert bad(check_machine.judge_python((3, 10))) == {("version", "problem")}
    assert not bad(check_machine.judge_python((3, 11)))
