"""Passwords with every awkward character, from the files that a deployment has to a Postgres that asks for them."""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest

from devstack.home import REPOSITORY
from devstack.secrets import POSTGRES_ROLES
from shared import env_files
from shared.database import Database
from shared.database.migrate import migrate
from tests.support.servers import RunningPostgres, public_folder
from upkeep.deployment import Deployment
from upkeep.secret_files import DeploymentSecrets, secret_files, write_all

AWKWARD = """p$$HOME'${x}"@%41#/?: \\`id`&;+口令"""


async def provision(postgres: RunningPostgres, secrets: Path, folder: Path) -> None:
    """deploy/docker/provision.sh as it stands, with this test's places."""
    script = (REPOSITORY / "deploy" / "docker" / "provision.sh").read_text()
    places = {
        "/run/secrets/provision": str(secrets / "provision.env"),
        "PGHOST=postgres": f"PGHOST=127.0.0.1 PGPORT={postgres.server.port}",
        "/provision/sql": str(REPOSITORY / "deploy" / "postgres"),
    }
    for before, after in places.items():
        assert before in script
        script = script.replace(before, after)
    (folder / "provision.sh").write_text(script)
    psql = Path(postgres.server.psql(Path("x"))[0]).parent
    job = await asyncio.create_subprocess_exec(
        "/bin/sh",
        str(folder / "provision.sh"),
        env={"PATH": f"{psql}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await job.communicate()
    assert job.returncode == 0, said.decode()


async def test_everybody_gets_in_with_an_awkward_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    awkward = {role: f"{AWKWARD}{role}" for role in POSTGRES_ROLES}
    secrets = DeploymentSecrets(postgres=awkward, reporting_reader=AWKWARD, postgres_exporter=AWKWARD)
    write_all(tmp_path / "secrets", secret_files(secrets, "x.example"))
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "secrets"))
    deployment = Deployment.from_environment()  # as the keeper reads them
    with public_folder() as folder:
        postgres = RunningPostgres(folder, passwords=awkward)
        await postgres.start()
        try:
            await provision(postgres, tmp_path / "secrets", tmp_path)

            def here(url: str) -> str:
                return url.replace("@postgres:5432/", f"@127.0.0.1:{postgres.server.port}/")

            await migrate("checkin", here(deployment.databases["checkin"]))  # by SQLAlchemy
            await (await asyncpg.connect(here(deployment.databases["reporting"]))).close()
            app = env_files.read(tmp_path / "secrets" / "checkin.env")["DATABASE_URL"]
            db = Database(here(app), pool_size=1, application_name="test")
            async with db.transaction() as tx:
                assert await tx.fetchval("SELECT current_user") == "checkin_app"
            await db.close()
            reader = await asyncpg.connect(
                host="127.0.0.1",
                port=postgres.server.port,
                user="reporting_reader",
                password=AWKWARD,
                database="fanzha_reporting",
            )
            await reader.close()
        finally:
            await postgres.stop()
