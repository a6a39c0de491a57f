"""`fanzha backup` and `fanzha restore`: a small campaign on real servers is saved, lost, and comes back with the same numbers."""

# ruff: noqa: ASYNC240

import asyncio
import gzip
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from cli.main import app
from devstack.home import read_env
from shared.bus.topology import CONSUMERS_FIRST
from tests.support.campaigns import campaign_content
from tests.support.checkin import CAMPAIGN, checkin
from tests.support.deployment import FINISHED, VIEWERS, WholeDeployment, hold_campaign
from tests.support.deployment import stack as stack
from tests.support.pictures import encoded, scene
from upkeep import backup, dump, expiry, keys, manifest
from upkeep.deployment import Deployment
from upkeep.dump import CannotRestore
from upkeep.manifest import Damaged
from upkeep.restore import restore, restore_env, restore_secrets


async def numbers(stack: WholeDeployment) -> dict[str, Any]:
    """What must be the same afterwards: totals every way, each service's rows, one certificate as its holder sees it."""
    state: dict[str, Any] = {}
    for by in ("unit", "county", "group", "lesson", "mode"):
        answer = await stack.get("reporting", f"/v1/campaigns/{CAMPAIGN}/totals", by=by)
        state[f"totals by {by}"] = (answer["rows"], answer["sum"])
    for service, tables in {
        "checkin": ("viewer", "enrolment", "uncounted", "outbox", "verdict_count"),
        "reporting": ("total", "certificate_total", "certificate_holder", "inbox"),
        "certificate": ("completion", "contact", "certificate", "outbox", "inbox"),
        "notification": ("contact", "certificate", "inbox"),
    }.items():
        for table in tables:
            ((count,),) = await stack.rows(service, f"SELECT count(*) FROM {table}")
            state[f"{service}.{table}"] = count
    state["pictures"] = await stack.rows(
        "reporting", "SELECT picture_id, md5(jpeg), md5(thumbnail), near_hash, retain_until FROM picture ORDER BY 1"
    )
    state["messages"] = await stack.rows(
        "notification", "SELECT id, recipient, status FROM notification ORDER BY recipient"
    )
    certificate = await stack.get("certificate", f"/v1/campaigns/{CAMPAIGN}/certificates/{VIEWERS[0]}")
    verdict = await stack.post("certificate", "/v1/verify", {"serial": certificate["serial"]})
    page = await stack.services["certificate"].client.get(f"/v/{certificate['code']}")
    state["certificate"] = (
        certificate,
        verdict.json(),
        page.status_code,
        "观*01" in page.text or "观" in page.text,
    )
    state["viewer"] = await stack.get("checkin", f"/v1/campaigns/{CAMPAIGN}/viewers/{VIEWERS[-1]}")
    return state


async def upload_picture(stack: WholeDeployment) -> None:
    path = f"/v1/campaigns/{CAMPAIGN}/units/111-EDU/pictures"
    answer = await stack.services["reporting"].client.post(path, content=encoded(scene()))
    assert answer.status_code == 200, answer.text


async def test_everything_is_lost_and_comes_back(stack: WholeDeployment, tmp_path: Path) -> None:
    async with stack.running():
        await hold_campaign(stack)
        await upload_picture(stack)
        before = await numbers(stack)
        assert before["certificate"][1]["genuine"] is True
        assert len(before["pictures"]) == 1
        assert len(before["messages"]) == len(FINISHED)
        taken, description = await backup.take(
            stack.deployment(), tmp_path / "backups", keep=3
        )  # while the services run
    assert description.campaigns == [CAMPAIGN]

    await stack.new_databases()
    await stack.lose_nats()
    await restore(stack.deployment(), taken)
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await numbers(stack) == before
        # And it goes on: the same post again is known, a new one is counted, identities do not collide.
        assert await stack.send(checkin(VIEWERS[0], "2024-06-29T19:31:05+08:00", "again")) == {"duplicate": 1}
        assert await stack.send(checkin("ks_9999", "2024-06-29T19:31:05+08:00")) == {"recorded": 1}
        await stack.put("checkin", "/v1/campaigns/other-2024", campaign_content(campaign_id="other-2024"))
        await stack.settle()
        after = await stack.get("reporting", f"/v1/campaigns/{CAMPAIGN}/totals", by="county")
        assert after["sum"]["checkins"] == before["totals by county"][1]["checkins"] + 1


async def test_going_back_to_a_backup_forgets_what_came_after_it(stack: WholeDeployment, tmp_path: Path) -> None:
    """NATS is well and holds later events, and earlier ones within its duplicate window: neither may count."""
    async with stack.running():
        await hold_campaign(stack)
        before = await numbers(stack)
        taken, _ = await backup.take(stack.deployment(), tmp_path / "backups", keep=3)
        assert await stack.send(checkin("ks_later", "2024-06-29T19:31:05+08:00")) == {"recorded": 1}
        await stack.settle()
    await restore(stack.deployment(), taken, wipe=True)
    for table in ("total", "inbox"):  # as if the consumer's backup were older than the ledger's
        await stack.postgres.execute(
            f"DELETE FROM {table}", role="reporting_owner", database=stack.databases["reporting"].name
        )
    async with stack.running():
        await stack.republish()
        await stack.settle()
        after = await numbers(stack)
    assert {key: after[key] for key in before if key.startswith("totals by lesson")} == {
        key: before[key] for key in before if key.startswith("totals by lesson")
    }
    assert after["checkin.viewer"] == before["checkin.viewer"]


async def test_a_lost_stream_alone_is_published_again_from_the_ledgers(stack: WholeDeployment) -> None:
    async with stack.running():
        await hold_campaign(stack)
        before = await numbers(stack)
    await stack.lose_nats()
    async with stack.running():
        await stack.republish()
        await stack.settle()
        assert await numbers(stack) == before


async def test_a_consumer_whose_database_is_gone_as_well_counts_the_same_from_the_ledger(
    stack: WholeDeployment,
) -> None:
    """What the totals are made of is in the ledger and nowhere else."""
    async with stack.running():
        await hold_campaign(stack)
        before = await numbers(stack)
        for table in (
            "total",
            "certificate_total",
            "certificate_holder",
            "inbox",
            "definition",
            "definition_page",
            "unit",
        ):
            await stack.postgres.execute(
                f"DELETE FROM {table}", role="reporting_owner", database=stack.databases["reporting"].name
            )
    await stack.lose_nats()
    async with stack.running():
        await stack.republish()
        await stack.settle()
        after = await numbers(stack)
    assert {key: after[key] for key in before if key.startswith("totals")} == {
        key: before[key] for key in before if key.startswith("totals")
    }


async def test_what_waited_to_be_sent_is_asked_for_and_not_sent_blindly(stack: WholeDeployment, tmp_path: Path) -> None:
    """The texts went out after the backup: the restored queue must not text everybody again."""
    await stack.new_databases()
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content(messages=[]))
        await stack.settle()
    notification = stack.databases["notification"]
    await stack.postgres.execute(
        "INSERT INTO notification (id, campaign_id, kind, period, recipient, channel, status, due_at, send_until, updated_at) "
        "SELECT gen_random_uuid(), 'small-2024', 'certificate_ready', 'S-' || n, 'ks_1', 'file', "
        "CASE n WHEN 1 THEN 'queued' WHEN 2 THEN 'delivered' ELSE 'cancelled' END, now(), now() + interval '1 day', now() "
        "FROM generate_series(1, 3) AS n",
        role="notification_app",
        database=notification.name,
    )
    taken, _ = await backup.take(stack.deployment(), tmp_path, keep=1)
    await restore(stack.deployment(), taken, wipe=True)
    connection = await dump.connect(notification.url)
    statuses = dict(await connection.fetch("SELECT period, status FROM notification"))
    await connection.close()
    assert statuses == {"S-1": "unknown", "S-2": "delivered", "S-3": "cancelled"}


# ---- one backup, looked at closely ---------------------------------------------------------------------------------------


@pytest.fixture
async def taken(stack: WholeDeployment, tmp_path: Path) -> Path:
    """A backup of a campaign with a little of everything; the services are stopped."""
    async with stack.running():
        await stack.put("checkin", f"/v1/campaigns/{CAMPAIGN}", campaign_content())
        await stack.settle()
    path, _ = await backup.take(stack.deployment(), tmp_path / "backups", keep=3)
    return path


async def test_a_damaged_backup_is_refused_before_anything_is_touched(stack: WholeDeployment, taken: Path) -> None:
    victim = taken / "checkin" / "outbox.copy.gz"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(Damaged, match=r"checkin/outbox\.copy\.gz 已损坏"):
        await restore(stack.deployment(), taken, wipe=True)
    assert await dump.rows_in(stack.databases["checkin"].owner_url) > 0


@pytest.mark.parametrize("change", ["missing", "added", "no sums", "future format"])
async def test_a_backup_that_is_not_whole_is_refused(taken: Path, change: str) -> None:
    match change:
        case "missing":
            (taken / "reporting" / "total.copy.gz").unlink()
        case "added":
            (taken / "reporting" / "more.copy.gz").write_bytes(b"")
        case "no sums":
            (taken / "SHA256SUMS").unlink()
        case _:
            (taken / "manifest.json").write_text(
                (taken / "manifest.json").read_text().replace('"format": 1', '"format": 2')
            )
            manifest.write_sums(taken)
    with pytest.raises(Damaged):
        manifest.read(taken)


async def test_a_row_too_few_rolls_the_whole_database_back(stack: WholeDeployment, taken: Path) -> None:
    """Checksums agree and the content does not: the database is as it was, not half restored."""
    description = json.loads((taken / "manifest.json").read_text())
    table = next(table for table in description["databases"]["checkin"]["tables"] if table["name"] == "outbox")
    table["rows"] += 1
    (taken / "manifest.json").write_text(json.dumps(description))
    manifest.write_sums(taken)
    with pytest.raises(CannotRestore, match="行"):
        await restore(stack.deployment(), taken, wipe=True)
    assert await dump.rows_in(stack.databases["checkin"].owner_url) > 0


async def test_data_that_is_there_is_replaced_only_on_request(stack: WholeDeployment, taken: Path) -> None:
    with pytest.raises(CannotRestore, match="--wipe"):
        await restore(stack.deployment(), taken)
    await restore(stack.deployment(), taken, wipe=True)


async def test_a_running_service_is_in_the_way(stack: WholeDeployment, taken: Path) -> None:
    async with stack.running():
        await stack.settle()
        with pytest.raises(CannotRestore, match="正在使用"):
            await restore(stack.deployment(), taken, wipe=True)


async def test_other_keys_than_those_of_the_backup_are_noticed(stack: WholeDeployment, taken: Path) -> None:
    deployment = stack.deployment()
    strange = dict(deployment.environments) | {
        "certificate": dict(deployment.environments["certificate"]) | {"CONTACT_KEYS": json.dumps({"k1": "x" * 44})}
    }
    changed = type(deployment)(deployment.databases, environments=strange)
    with pytest.raises(CannotRestore, match="certificate/CONTACT_KEYS/k1"):
        await restore(changed, taken, wipe=True)
    await restore(changed, taken, wipe=True, other_keys=True)


async def test_a_schema_from_the_future_is_refused(stack: WholeDeployment, taken: Path) -> None:
    description = json.loads((taken / "manifest.json").read_text())
    description["databases"]["reporting"]["schema_revision"] = "9999"
    (taken / "manifest.json").write_text(json.dumps(description))
    manifest.write_sums(taken)
    with pytest.raises(CannotRestore, match="9999"):
        await restore(stack.deployment(), taken, wipe=True)


async def test_an_older_schema_is_restored_and_brought_up_to_date(stack: WholeDeployment, tmp_path: Path) -> None:
    """checkin's first schema, before eight tables came, and columns of four came and went."""
    database = stack.databases["checkin"]
    old = tmp_path / "old"
    old.mkdir()
    empty = await dump.take(database.owner_url, old / "checkin", lambda *_: None)
    other = (
        "platform_count",
        "erasure",
        "campaign_key",
        "heartbeat",
        "held_message",
        "uncounted",
        "dead_letter",
        "certificate",
        "viewer",
        "enrolment",
        "ended_session",
        "person_generation",
        "feed_heard",
        "viewer_link_given",
    )
    tables = [table for table in empty.tables if table.name not in other]
    earlier = empty.model_copy(update={"schema_revision": "0001", "tables": tables})
    await dump.put_back("checkin", database.owner_url, old, earlier, lambda *_: None)
    connection = await dump.connect(database.url)  # the app role: its rights came with the tables
    revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    await connection.execute("UPDATE platform_count SET n = 0")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # as before the restore: the ledger is only added to
        await connection.execute("UPDATE outbox SET payload = ''")
    await connection.close()
    assert revision == empty.schema_revision


async def test_a_backup_holds_what_a_restore_needs_and_only_its_owner_reads_it(
    taken: Path, stack: WholeDeployment
) -> None:
    names = {str(path.relative_to(taken)) for path in taken.rglob("*") if path.is_file()}
    assert {"manifest.json", "SHA256SUMS", f"campaigns/{CAMPAIGN}.json", "secrets/0-secrets.json"} <= names
    # Consumers before those they listen to. Campaigns' keys flow the other way: they are saved after all tables, and announced
    # again by a restore (test_campaign_keys_destroyed.py).
    databases = manifest.read(taken).databases
    assert tuple(sorted(databases, key=lambda service: databases[service].taken_at)) == CONSUMERS_FIRST
    assert stat.S_IMODE(os.stat(taken).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(taken / "secrets" / "0-secrets.json").st_mode) == 0o600
    assert json.loads((taken / "campaigns" / f"{CAMPAIGN}.json").read_text())["campaign_id"] == CAMPAIGN
    check = await asyncio.create_subprocess_exec("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=taken)
    assert await check.wait() == 0
    text = (taken / "manifest.json").read_text()
    assert not any(password in text for password in stack.secrets.postgres.values())
    families = {family.name for family in text_string_to_metric_families((taken.parent / "backup.prom").read_text())}
    assert "fanzha_backup_last_success_timestamp_seconds" in families


async def test_old_backups_go_and_strangers_stay(stack: WholeDeployment, taken: Path) -> None:
    folder = taken.parent
    for name in (
        "fanzha-20240101T000000Z",
        "fanzha-20240102T000000Z",
        "fanzha-of-mine",
        ".fanzha-20240103T000000Z.partial",
    ):
        (folder / name).mkdir()
    newest, _ = await backup.take(stack.deployment(), folder, keep=2)
    left = {path.name for path in folder.iterdir() if path.is_dir()}
    assert left == {"fanzha-of-mine", taken.name, newest.name}


async def test_the_new_backup_stays_whatever_the_others_are_named(stack: WholeDeployment, taken: Path) -> None:
    """One that a wrong clock named is of unknown age: it is not counted, not removed, and mentioned."""
    folder, told = taken.parent, list[str]()
    (folder / "fanzha-20310101T000000Z").mkdir()
    newest, _ = await backup.take(stack.deployment(), folder, keep=1, tell=told.append)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"fanzha-20310101T000000Z", newest.name}
    assert [line for line in told if "fanzha-20310101T000000Z" in line and "未来" in line]


async def test_a_backup_that_fails_leaves_nothing_and_keeps_the_old_ones(stack: WholeDeployment, taken: Path) -> None:
    deployment = stack.deployment()
    broken = type(deployment)(dict(deployment.databases) | {"checkin": deployment.databases["checkin"] + "_no"})
    with pytest.raises(Exception, match=r"does not exist|permission denied"):
        await backup.take(broken, taken.parent, keep=1)
    assert [path.name for path in taken.parent.iterdir() if path.is_dir()] == [taken.name]


async def test_secrets_are_locked_under_a_passphrase_and_never_written_over_others(
    stack: WholeDeployment, tmp_path: Path
) -> None:
    taken, _ = await backup.take(stack.deployment(), tmp_path / "b", keep=1, passphrase="correct horse battery")
    stored = (taken / "secrets" / "0-secrets.json").read_bytes()
    assert stack.secrets.link_key.encode() not in stored
    with pytest.raises(keys.WrongPassphrase):
        restore_secrets(taken, tmp_path / "s", "wrong horse battery")
    with pytest.raises(CannotRestore, match="口令"):
        restore_secrets(taken, tmp_path / "s", None)
    (written,) = restore_secrets(taken, tmp_path / "s", "correct horse battery")
    assert written.read_bytes() == stack.home.secrets.read_bytes()
    with pytest.raises(CannotRestore, match="已经存在"):
        restore_secrets(taken, tmp_path / "s", "correct horse battery")


async def test_secrets_come_back_with_their_owner_and_mode(stack: WholeDeployment, tmp_path: Path) -> None:
    """Each container reads only the file of its own user (fanzha init)."""
    stack.home.secrets.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(stack.home.secrets, 10001, 10001)
    taken, description = await backup.take(stack.deployment(), tmp_path / "b", keep=1)
    (written,) = restore_secrets(taken, tmp_path / "s", None)
    was, now = stack.home.secrets.stat(), written.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (was.st_uid, was.st_gid, 0o400)
    assert description.secrets[0].path == str(stack.home.secrets)


async def test_rows_that_no_reader_sees_do_not_block_the_writers(stack: WholeDeployment, tmp_path: Path) -> None:
    """A snapshot: what is written while the backup reads is in the next one."""
    app = await dump.connect(stack.databases["checkin"].url)
    folder = tmp_path / "checkin"
    written: list[str] = []

    def write_meanwhile(table: str, _: int) -> None:
        written.append(table)

    await app.execute("INSERT INTO verdict_count VALUES ('c', 't', '', '', 'v', '', 0, 1)")
    taken = await dump.take(stack.databases["checkin"].owner_url, folder, write_meanwhile)
    await app.close()
    count = next(table for table in taken.tables if table.name == "verdict_count")
    assert (count.rows, sorted(written)) == (1, written)
    assert gzip.decompress((folder / "verdict_count.copy.gz").read_bytes()).startswith(b"PGCOPY")


async def test_no_table_refers_to_another_so_their_order_does_not_matter(stack: WholeDeployment) -> None:
    for database in stack.databases.values():
        connection = await dump.connect(database.url)
        foreign = await connection.fetchval("SELECT count(*) FROM pg_constraint WHERE contype = 'f'")
        await connection.close()
        assert foreign == 0, f"{database.name}: dump.put_back fills tables by name"


# ---- a deployment's files: secrets/ and .env -----------------------------------------------------------------------------


@pytest.fixture
def deployed(stack: WholeDeployment, tmp_path: Path) -> Deployment:
    """As `fanzha init` leaves it; the databases are those of the stack."""
    done = CliRunner().invoke(app, ["init", "--directory", str(tmp_path), "--domain", "fanzha.example.org"])
    assert done.exit_code == 0, done.output
    files = tuple(sorted((tmp_path / "secrets").iterdir()))
    return replace(stack.deployment(), secret_files=files, env_file=tmp_path / ".env")


def owners(*paths: Path) -> dict[str, tuple[int, int, int]]:
    return {path.name: (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) for path in paths}


async def test_secrets_come_back_as_init_writes_them(deployed: Deployment, tmp_path: Path) -> None:
    """Whatever was done to them since, and whoever took the backup: each is read by the user of its container."""
    folder = tmp_path / "secrets"
    as_written = owners(folder, *deployed.secret_files)
    folder.chmod(0o750)
    for path in deployed.secret_files:
        path.chmod(0o440)
        if os.geteuid() == 0:
            os.chown(path, 1000, 1000)
    taken, _ = await backup.take(replace(deployed, secrets_folder=folder), tmp_path / "b", keep=1)
    assert (tmp_path / "b" / expiry.METRICS).exists()  # for Prometheus
    was = {path.name: path.read_text() for path in deployed.secret_files}
    shutil.rmtree(folder)
    written = restore_secrets(taken, folder, None)
    assert owners(folder, *written) == as_written
    assert {path.name: path.read_text() for path in written} == was


async def test_env_comes_back_and_one_that_is_there_stays(deployed: Deployment, tmp_path: Path) -> None:
    taken, description = await backup.take(deployed, tmp_path / "b", keep=1, with_secrets=False)
    env = tmp_path / ".env"
    was, whose = env.read_text(), owners(env)
    assert description.env == str(env)
    env.write_text("ENVIRONMENT=dev\n")
    assert restore_env(taken, tmp_path / "secrets", replace=False) == (env, False)
    assert env.read_text() == "ENVIRONMENT=dev\n"
    assert restore_env(taken, tmp_path / "secrets", replace=True) == (env, True)
    assert env.read_text() == was
    env.unlink()
    assert restore_env(taken, None, replace=False) == (env, True)
    assert (env.read_text(), owners(env)) == (was, whose)


async def test_env_with_a_secret_in_it_stays_out(deployed: Deployment, tmp_path: Path) -> None:
    """The rest of a backup may be locked; `.env` in it is for everybody to read."""
    link_key = read_env(tmp_path / "secrets" / "checkin.env")["LINK_KEY"]
    with (tmp_path / ".env").open("a") as file:
        file.write(f"LINK_KEY={link_key}\n")
    told: list[str] = []
    taken, description = await backup.take(
        deployed, tmp_path / "b", keep=1, passphrase="correct horse", tell=told.append
    )
    assert description.env is None
    assert any(".env" in line and "密钥" in line for line in told)
    assert not [path for path in taken.rglob("*") if path.is_file() and link_key.encode() in path.read_bytes()]


async def test_a_backup_without_an_env_says_so(stack: WholeDeployment, taken: Path, tmp_path: Path) -> None:
    assert restore_env(taken, tmp_path / "s", replace=False) is None
    lost = replace(stack.deployment(), env_file=tmp_path / "none")
    told: list[str] = []
    _, description = await backup.take(lost, tmp_path / "b", keep=1, tell=told.append)
    assert description.env is None
    assert any(".env" in line for line in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_roots_backup_belongs_to_whom_the_folder_belongs_to(stack: WholeDeployment, tmp_path: Path) -> None:
    """`docker compose run keeper backup` is root; the daily backup is not, and removes old ones."""
    folder = tmp_path / "b"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    await backup.take(stack.deployment(), folder, keep=1)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.rglob("*")} == {(10001, 10001)}
