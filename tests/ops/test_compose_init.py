"""`fanzha init`: what it writes, whose it is, that it never writes twice, and what it adds for a newer version."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from cli.init_texts import env_text
from cli.main import app
from cli.public_address import PublicAddress, parse
from devstack.home import REPOSITORY, read_env
from shared.env_files import parse as parse_env
from shared.env_files import text_of
from upkeep.check_machine import judge_environment
from upkeep.missing import keys_of
from upkeep.secret_files import OWNERS, DeploymentSecrets, secret_files, words
from upkeep.sizing import VIEWERS_DEFAULT, sizes

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
    assert [name for name in first if first[name] == second[name]] == ["alerts.env"]  # empty


def test_nothing_secret_stands_in_env() -> None:
    env = env_text(PublicAddress("fanzha.example.org"), sizes(VIEWERS_DEFAULT))
    for name, text in secret_files(DeploymentSecrets(), "fanzha.example.org").items():
        if name == "alerts.env":  # empty until somebody writes an address
            continue
        secret = words([text])
        assert secret, f"{name}: nothing in it would be seen"
        assert not [word for word in secret if word in env]


def test_a_service_gets_no_key_of_another(deployment: Path) -> None:
    secrets = {
        name: read_env(deployment / "secrets" / f"{name}.env") for name in ("checkin", "notification", "certificate")
    }
    assert "SEALING_PRIVATE_KEY" not in secrets["checkin"]
    assert secrets["notification"]["CONTACT_KEYS"] != secrets["certificate"]["CONTACT_KEYS"]
    assert set(json.loads(secrets["checkin"]["SEALING_PUBLIC_KEYS"])) == {"certificate", "notification"}
    assert all("MIGRATION_DATABASE_URL" not in variables for variables in secrets.values())


# ---- the domain, as people type it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("x.cn", "https://x.cn"),
        ("https://x.cn/", "https://x.cn"),
        ("HTTPS://X.CN", "https://x.cn"),
        ("  x.cn ", "https://x.cn"),
        ("x.cn.", "https://x.cn"),
        ("x.cn:443", "https://x.cn"),
        ("x.cn:8443", "https://x.cn:8443"),
        ("反诈.中国", "https://xn--kors61k.xn--fiqs8s"),
        ("192.0.2.10", "https://192.0.2.10"),
        ("https：／／x。cn", "https://x.cn"),
    ],
)
def test_a_domain_is_understood(tmp_path: Path, typed: str, url: str) -> None:
    done = run(app, ["init", "--directory", str(tmp_path), "--domain", typed])
    assert done.exit_code == 0, done.output
    env = read_env(tmp_path / ".env")
    assert (env["CHECKIN_PUBLIC_URL"], env["CERTIFICATE_PUBLIC_URL"]) == (url, url)
    assert env["PUBLIC_PORT"] == str(parse(typed).port)
    assert f"{url}/v1/live/events" in done.stdout
    names = certificate_names((tmp_path / "secrets" / "tls_certificate.pem").read_bytes())
    assert parse(typed).host in names
    assert add_missing(tmp_path).stdout == "什么也不缺，没有改动\n"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("http://x.cn", "https"),
        ("ftp://x.cn", "https"),
        ("x.cn/path", "路径"),
        ("https://x.cn/?a=1", "路径"),
        ("x .cn", "空格"),
        ("x_y.cn", "不是域名"),
        ("https://", "不是域名"),
        ("https://https://x.cn", "https"),
        ("x.cn:0", "端口"),
        ("x.cn:99999", "端口"),
        ("x.cn:", "端口"),
        ("192.0.2.300", "IP"),
        ("[2001:db8::1]", "不是域名"),
        ("x..cn", "不是域名"),
    ],
)
def test_what_is_no_domain_is_refused_with_a_sentence(tmp_path: Path, typed: str, why: str) -> None:
    done = run(app, ["init", "--directory", str(tmp_path), "--domain", typed])
    assert done.exit_code == 1
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("x.cn", "域名 x.cn 要解析到"),
        ("10.0.0.1", "10.0.0.1 要是 PUBLIC_ADDRESS 那台机器的地址"),
        ("127.0.0.1", "127.0.0.1 只有本机打得开：证书上的二维码"),
        ("localhost", "localhost 只有本机打得开：证书上的二维码"),
    ],
)
def test_the_steps_say_who_reaches_the_address(tmp_path: Path, typed: str, said: str) -> None:
    assert said in run(app, ["init", "--directory", str(tmp_path), "--domain", typed]).stdout


def certificate_names(pem: bytes) -> set[str]:
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_the_steps_name_the_addresses_and_where_the_secret_is(tmp_path: Path) -> None:
    done = run(app, ["init", "--directory", str(tmp_path)])
    for named in ("PUBLIC_ADDRESS", "/v1/live/events", "secrets/operator.env", "WEBHOOK_SECRET", "二维码", "127.0.0.1"):
        assert named in done.stdout
    assert "fanzha preflight" in done.stdout


# ---- how large -------------------------------------------------------------------------------------------------------


def test_a_province_gets_the_memory_that_was_measured(tmp_path: Path) -> None:
    done = run(app, ["init", "--directory", str(tmp_path), "--viewers", "7000000"])
    env = read_env(tmp_path / ".env")
    assert (env["POSTGRES_SHARED_BUFFERS"], env["POSTGRES_MEMORY"]) == ("4096MB", "9g")
    course = 7_000_000 * 16 * 101  # bytes of events; the alert comes at 80 %
    assert (
        course < 0.8 * int(env["NATS_EVENTS_MAX_BYTES"]) < 0.8 * 1024**3 * int(env["NATS_MAX_FILE"].removesuffix("GB"))
    )
    assert "磁盘至少 120 GiB" in done.stdout


def test_a_city_gets_what_docker_compose_yml_says_without_an_env(deployment: Path) -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    defaults = dict(re.findall(r"\$\{((?:POSTGRES|NATS)_[A-Z_]+):-([^}]*)}", compose))
    env = read_env(deployment / ".env")
    del defaults["POSTGRES_CPUS"]
    assert {key: env[key] for key in defaults if key in env} == {key: defaults[key] for key in defaults if key in env}
    assert {"POSTGRES_MEMORY", "POSTGRES_SHARED_BUFFERS", "NATS_EVENTS_MAX_BYTES", "NATS_MAX_FILE"} <= env.keys()


def test_the_table_says_what_init_writes() -> None:
    page = (REPOSITORY / "docs" / "operations" / "install.md").read_text()
    rows = re.findall(
        r"^\| ([\d.]+) 万 \| (\d+) GiB \| (\d+) GiB \| (\w+) \| (\w+) \| (\d+) GiB \|$", page, re.MULTILINE
    )
    assert len(rows) >= 4
    for viewers, memory, disk, postgres, shared, events in rows:
        needs = sizes(round(float(viewers) * 10_000))
        assert (int(memory), int(disk), int(events)) == (
            needs.memory_gib,
            needs.disk_gib,
            needs.events_max_bytes // 1024**3,
        )
        assert (postgres, shared) == (f"{needs.postgres_memory_gib}g", f"{needs.shared_buffers_mib}MB")


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


# ---- --source: several platforms -------------------------------------------------------------------------------------


def sources(deployment: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_env(deployment / "secrets" / "checkin.env")["WEBHOOK_SOURCES"])
    return found


def test_every_source_has_a_secret_of_its_own(tmp_path: Path) -> None:
    asked = ["--source", "tv", "--source", "kuaishou=kuaishou", "--source", "douyin=douyin"]
    done = run(app, ["init", "--directory", str(tmp_path), *asked])
    assert done.exit_code == 0, done.output
    made = sources(tmp_path)
    assert {name: source["verifier"] for name, source in made.items()} == {
        "standard": "standard",
        "tv": "standard",
        "kuaishou": "kuaishou",
        "douyin": "douyin",
    }
    secrets = [secret for source in made.values() for secret in source["secrets"]]
    assert len(set(secrets)) == 4
    assert made["standard"]["secrets"] == [read_env(tmp_path / "secrets" / "operator.env")["WEBHOOK_SECRET"]]
    assert not [finding for finding in judge_environment("checkin", read_env(tmp_path / "secrets" / "checkin.env"))]
    assert add_missing(tmp_path).stdout == "什么也不缺，没有改动\n"
    assert not [word for word in words(secrets) if word in done.output]


def test_a_source_is_added_to_a_deployment_that_runs(deployment: Path) -> None:
    """What is there stays: the secrets that platforms have, the file's owner and mode, every other line."""
    path = deployment / "secrets" / "checkin.env"
    rotated = sources(deployment)
    rotated["standard"]["secrets"].append("whsec_" + "A" * 43 + "=")
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("WEBHOOK_SOURCES")]
    path.write_text("# ours\n" + "".join(lines) + text_of({"WEBHOOK_SOURCES": json.dumps(rotated)}))
    before, was = contents(deployment), path.stat()
    done = add_missing(deployment, "--source", "douyin=douyin", "--source", "standard")
    assert done.exit_code == 0, done.output
    assert "来源 douyin" in done.stdout
    assert "--force-recreate checkin" in done.stdout
    after = contents(deployment)
    assert {name for name in after if after[name] != before.get(name)} == {"secrets/checkin.env"}
    made = sources(deployment)
    assert (made.pop("douyin")["verifier"], made) == ("douyin", rotated)
    kept = {key: value for key, value in read_env(path).items() if key != "WEBHOOK_SOURCES"}
    assert kept.items() <= parse_env(before["secrets/checkin.env"]).items()
    assert path.read_text().startswith("# ours\n")
    assert (path.stat().st_uid, path.stat().st_mode) == (was.st_uid, was.st_mode)
    assert add_missing(deployment, "--source", "douyin=douyin").stdout == "什么也不缺，没有改动\n"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "名字"),
        ("a b", "名字"),
        ("抖音", "名字"),
        ("a/b", "名字"),
        ("..", "名字"),  # a URL means something else by it
        ("x" * 65, "名字"),
        ("bus", "总线"),
        ("import", "文件"),
        ("tv=sha256", "验签"),
        ("standard=douyin", "总是"),
    ],
)
def test_what_is_no_source_is_refused_with_a_sentence(tmp_path: Path, source: str, why: str) -> None:
    done = run(app, ["init", "--directory", str(tmp_path), "--source", source])
    assert done.exit_code == 1
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_source_keeps_the_way_it_is_verified(deployment: Path) -> None:
    assert add_missing(deployment, "--source", "tv").exit_code == 0
    before = contents(deployment)
    done = add_missing(deployment, "--source", "tv=douyin")
    assert (done.exit_code, "standard" in done.stderr) == (1, True)
    assert contents(deployment) == before
