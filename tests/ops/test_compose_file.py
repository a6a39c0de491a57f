"""docker-compose.yml held to its rules without an engine: what a reviewer would otherwise have to look for by eye."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import shared
from devstack.home import REPOSITORY
from services.certificate.settings import Settings as CertificateSettings
from shared.bus.topology import SERVICES, TopologySettings
from upkeep.secret_files import FANZHA, OWNERS, DeploymentSecrets, secret_files

TEXT = (REPOSITORY / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
ZONES = [yaml.safe_load((REPOSITORY / f"docker-compose.{name}.yml").read_text()) for name in ("zones", "public-side")]
ALL = (
    CONTAINERS | ZONES[0]["services"] | ZONES[1]["services"]
)  # the doors between two zones have to keep the same rules
JOBS = {name for name, container in CONTAINERS.items() if container.get("restart") == "no"}
DAEMONS = ALL.keys() - JOBS
# Jobs that are root, and the capabilities that each has: to give a new volume to its user; to read every secret and to give the
# backup away; to let a group read what belongs to others.
ROOT = {
    "nats-volume": {"CHOWN"},
    "keeper": {"CHOWN", "DAC_OVERRIDE"},
    "backup-access": {"CHOWN", "DAC_OVERRIDE", "FOWNER"},
}

everyone = pytest.mark.parametrize("name", sorted(ALL))
daemons = pytest.mark.parametrize("name", sorted(DAEMONS))


@everyone
def test_is_contained(name: str) -> None:
    container = ALL[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["init"] is True
    assert "privileged" not in container
    assert not {"pid", "ipc", "devices", "userns_mode"} & container.keys()
    assert set(container.get("cap_add", ())) == ROOT.get(name, set())


@everyone
def test_does_not_run_as_root(name: str) -> None:
    uid, gid = ALL[name]["user"].split(":")
    assert (int(uid) == 0) == (int(gid) == 0) == (name in ROOT)
    if name in ROOT:
        assert name in JOBS


@everyone
def test_has_limits(name: str) -> None:
    container = ALL[name]
    assert re.fullmatch(r"(\$\{\w+:-)?\d+[mg]}?", str(container["mem_limit"]))
    assert container["cpus"] == "${POSTGRES_CPUS:-1.0}" or 0 < container["cpus"] <= 1  # a machine may have one
    assert 0 < container["pids_limit"] <= 500


@everyone
def test_keeps_its_log_short(name: str) -> None:
    options = ALL[name]["logging"]["options"]
    assert options["max-size"] == "10m"
    assert int(options["max-file"]) <= 5


@daemons
def test_comes_back_and_says_how_it_is(name: str) -> None:
    container = ALL[name]
    assert container["restart"] == "unless-stopped"
    assert container["healthcheck"]["test"][0] == "CMD"
    assert "stop_grace_period" in container


def test_services_are_healthy_when_ready() -> None:
    for service in SERVICES:
        assert CONTAINERS[service]["healthcheck"]["test"] == ["CMD", "python", "-m", "shared.healthcheck"]


@pytest.mark.parametrize("name", sorted(name for name in ALL if "ports" in ALL[name]))
def test_ports_are_this_machines_unless_asked(name: str) -> None:
    public, office = "${PUBLIC_ADDRESS:-127.0.0.1}", "${OFFICE_ADDRESS:-127.0.0.1}"
    asked = {"public-proxy": public, "public-side": public, "office-proxy": office, "crossing": "${CROSSING_ADDRESS:?"}
    for port in ALL[name]["ports"]:
        assert port.startswith(asked.get(name, "127.0.0.1:"))


def test_images_are_pinned() -> None:
    for name, container in ALL.items():
        _, _, tag = container["image"].partition(":")
        if "build" in container:
            assert tag == f"${{FANZHA_VERSION:-{shared.__version__}}}", name
        else:
            assert re.match(r"v?\d+\.\d+", tag), f"{name}: {container['image']}"


def test_waits_only_for_what_says_when_it_is_there() -> None:
    for name, container in CONTAINERS.items():
        for needed, how in container.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in JOBS else "service_healthy"
            assert how == {"condition": expected}, f"{name} needs {needed}"


def test_a_service_reaches_its_own_database_and_no_other() -> None:
    on = {name: set(container.get("networks", ())) for name, container in CONTAINERS.items()}
    for service in SERVICES:
        databases = {network for network in on[service] if network.endswith("-database")}
        assert databases == {f"{service}-database"}
    reach_postgres = {name for name in on if name != "postgres" and on[name] & on["postgres"]}
    migrations = {f"migrate-{service}" for service in SERVICES}
    assert reach_postgres == {
        *SERVICES,
        *migrations,
        "provision",
        "postgres-exporter",
        "grafana",
        "keeper",
        "daily-backup",
    }


def test_what_the_public_reaches_is_only_what_it_must() -> None:
    on_public = {name for name, container in CONTAINERS.items() if "public" in container.get("networks", ())}
    assert on_public == {"public-proxy", "checkin", "certificate", "reporting", "nats"}


def test_monitoring_of_nats_is_reached_by_who_watches_it_and_nobody_else() -> None:
    """It asks for no password, and tells who is connected and what every stream holds."""
    on_it = {name for name, container in CONTAINERS.items() if "nats-monitoring" in container.get("networks", ())}
    assert on_it == {"nats", "nats-exporter", "keeper"}
    nats = CONTAINERS["nats"]
    host = nats["environment"]["NATS_MONITORING"].removesuffix(":8222")
    # A name of this one network has the address there, and the server listens on that alone.
    assert {
        network
        for network, network_settings in nats["networks"].items()
        if network_settings and host in network_settings["aliases"]
    } == {"nats-monitoring"}
    assert host not in CONTAINERS
    conf = (REPOSITORY / "deploy" / "nats" / "nats.conf").read_text()
    assert re.findall(r"^ *(?:http|https|http_port|monitor_port)\b.*$", conf, re.MULTILINE) == [
        "http: $NATS_MONITORING"
    ]
    assert f"http://{host}:8222/healthz" in nats["healthcheck"]["test"]
    for name in ("nats-exporter", "keeper"):
        assert CONTAINERS[name]["environment"]["NATS_MONITORING_URL"] == f"http://{host}:8222"


@pytest.mark.parametrize("name", ["topology", "keeper"])
def test_who_makes_the_streams_is_told_everything_that_can_be_set(name: str) -> None:
    set_by_us = {"nats_url", "nats_wait_s"}
    fields = {key: field.default for key, field in TopologySettings.model_fields.items() if key.startswith("nats_")}
    passed = {key: value for key, value in CONTAINERS[name]["environment"].items() if key.lower() in fields}
    assert passed == {key.upper(): f"${{{key.upper()}:-{fields[key]}}}" for key in fields.keys() - set_by_us}


def test_only_who_sends_to_the_outside_can_call_out() -> None:
    networks = COMPOSE["networks"]
    closed = {name for name, network in networks.items() if network.get("internal") or "driver_opts" in network}
    assert networks.keys() - closed == {"egress"}
    assert {name for name, container in CONTAINERS.items() if "egress" in container.get("networks", ())} == {
        "notification",
        "alertmanager",
    }


def test_no_secret_stands_in_the_file() -> None:
    assert not re.search(r"(?i)(password|secret|token|key)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{12,}", TEXT)
    for name, container in CONTAINERS.items():
        for key, value in container.get("environment", {}).items():
            if key == "BACKUP_PASSPHRASE_FILE":
                assert value == "${BACKUP_PASSPHRASE_FILE:-}", name  # none, or a file's name
            elif re.search(r"(?i)password|secret|token|_key$|_pass", key) and not key.endswith("_DIR"):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"


def test_reads_on_docker_compose_1_29_and_on_v2() -> None:
    """STACK, "Compose": what one of the two does not know."""
    assert not {"name", "include", "version"} & COMPOSE.keys()
    for container in CONTAINERS.values():
        assert not {"deploy", "develop", "configs", "extends"} & container.keys()
        assert "start_interval" not in container.get("healthcheck", {})
        for how in container.get("depends_on", {}).values():
            assert how.keys() == {"condition"}
    assert all(secret.keys() == {"file"} for secret in COMPOSE["secrets"].values())


def test_init_writes_the_secrets_that_the_file_names_for_the_users_who_read_them() -> None:
    written = secret_files(DeploymentSecrets(), "localhost")
    assert written.keys() == OWNERS.keys()
    named = {name: Path(secret["file"]).name for name, secret in COMPOSE["secrets"].items()}
    assert sorted(named.values()) == sorted(written)
    for name, container in CONTAINERS.items():
        for secret in container.get("secrets", ()):
            uid = int(container["user"].split(":")[0])
            assert OWNERS[named[secret]] == uid, f"{name} runs as {uid} and cannot read {secret}"


def test_each_secret_is_mounted_where_it_is_needed_and_nowhere_else() -> None:
    holders = {
        secret: {name for name in CONTAINERS if secret in CONTAINERS[name].get("secrets", ())}
        for secret in COMPOSE["secrets"]
    }
    assert {secret: names for secret, names in holders.items() if len(names) != 1} == {
        "tls_certificate": {"public-proxy", "office-proxy"},
        "tls_key": {"public-proxy", "office-proxy"},
    }
    assert holders["postgres_superuser"] == {"postgres"}
    for service in SERVICES:
        assert holders[service] == {service}
        assert holders[f"{service}_owner"] == {f"migrate-{service}"}


def test_the_daily_backup_may_read_what_its_access_job_opens() -> None:
    script = (REPOSITORY / "deploy" / "docker" / "backup-access.sh").read_text()
    assert f"group={FANZHA}\n" in script
    assert CONTAINERS["daily-backup"]["user"] == f"{FANZHA}:{FANZHA}"
    readable, opened = (CONTAINERS[name]["volumes"] for name in ("daily-backup", "backup-access"))
    assert {volume.removesuffix(":ro") for volume in readable} == set(opened[:3])


def test_the_seal_that_env_names_reaches_the_certificate_service() -> None:
    certificate = CONTAINERS["certificate"]
    inside = certificate["environment"]["SEAL_IMAGE"]
    assert f"${{SEAL_IMAGE:-./deploy/docker/no-seal}}:{inside}:ro" in certificate["volumes"]
    assert (REPOSITORY / "deploy" / "docker" / "no-seal").read_bytes() == b""  # none


@pytest.mark.parametrize(
    ("content", "seal"),
    [
        (b"", None),
        (b"\x89PNG\r\n\x1a\n...", b"\x89PNG\r\n\x1a\n..."),
        (b"GIF89a", "PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1024 * 1024), "1 MiB"),
        (None, "SEAL_IMAGE"),
    ],
)
def test_a_seal_is_a_png_or_none(tmp_path: Path, content: bytes | None, seal: bytes | str | None) -> None:
    path = tmp_path / "seal"
    path.mkdir() if content is None else path.write_bytes(content)  # the engine makes a folder where no file is
    settings = CertificateSettings.model_construct(seal_image=path)
    if isinstance(seal, str):
        with pytest.raises(ValueError, match=seal):
            settings.seal()
    else:
        assert settings.seal() == seal


def test_the_users_of_the_files_are_those_of_the_image() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f"USER {FANZHA}:{FANZHA}" in dockerfile


def test_the_dockerfile_suits_the_classic_builder() -> None:
    instructions = [line for line in (REPOSITORY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in instructions if "--mount=" in line or "<<" in line or "--chmod" in line]
    assert [line for line in instructions if "pip install" in line] == [
        line for line in instructions if "pip install" in line and "--require-hashes" in line
    ]


def test_nothing_but_what_is_named_goes_into_an_image() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "**"
    assert not [rule for rule in rules if rule.startswith("!") and re.search(r"secrets/|\.env|tests|campaigns", rule)]
