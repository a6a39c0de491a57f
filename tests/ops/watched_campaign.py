"""A small campaign on a dev stack, watched by the real Prometheus, with evenings of the days before in its history.

The campaign's live window is the present hour, so that the simulated evening and Prometheus's own time agree. The evenings of
earlier days are played by the simulated clock; what /metrics said then is put into Prometheus at the times it stands for.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from cli.clock_commands import settle
from devstack import main as devstack
from devstack.home import Home, read_env
from devstack.plan import Stack
from devstack.ports import free_port, kept
from devstack.processes import dying_with_parent, environment
from devstack.secrets import load_or_create
from shared.bus.topology import SERVICES
from shared.clock import write_clock
from tests.ops.boards import DEPLOY
from tests.support.campaigns import campaign_content, unit
from tests.support.checkin import signature
from tests.support.forms import form

T = TypeVar("T")
CAMPAIGN = "watched"
SHANGHAI = ZoneInfo("Asia/Shanghai")
DAYS_AGO = (7, 3, 2, 1)  # the lessons before today's: what the office board compares with
HISTORY = (
    -timedelta(minutes=5),
    timedelta(minutes=25),
)  # around the same time of those days: as long as the test may last
HISTORY_STEP_S = 15
SCRAPE_S = 5  # is the time-out too: a loaded machine answers in more than two
TOOLS = (
    "prometheus",
    "promtool",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
)
RESIDENTS = {"count": 500_000, "year": 2016, "source": "年鉴"}
UNITS = [
    unit("14", None, "province"),
    unit("1409", "14", "city"),
    unit("140902", "1409", "county", residents=RESIDENTS),
    unit("140902-EDU", "140902", "unit"),
    unit("140902-BANK", "140902", "unit"),
    unit("140921", "1409", "county", residents=RESIDENTS),
    unit("140921-FIN", "140921", "unit"),
    unit("140921-IDLE", "140921", "unit"),
]
PLACES = [("140902-EDU", "student"), ("140902-BANK", "general"), ("140921-FIN", "general"), (None, None)]
VIEWERS = 60


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


class WatchedCampaign:
    """The stack, what was sent to it, and the Prometheus that watches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.now = datetime.now(SHANGHAI).replace(microsecond=0)
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        self.sent: dict[str, dict[str, int]] = {}  # lesson → mode → check-ins accepted
        self._http = httpx.Client(timeout=30)

    # ---- the campaign --------------------------------------------------------------------------------------------

    def lesson(self, days_ago: int) -> str:
        return (self.now - timedelta(days=days_ago)).date().isoformat()

    def definition(self) -> dict[str, Any]:
        hour = self.now.hour
        after: dict[str, Any] = {"from": f"{hour + 1:02}:00", "to": "24:00"}
        return campaign_content(
            campaign_id=CAMPAIGN,
            title="看板测试活动",
            lessons=[{"date": self.lesson(days), "title": f"{days}天前的课"} for days in (*DAYS_AGO, 0)],
            windows={
                "live": [{"from": f"{hour:02}:00", "to": f"{hour + 1:02}:00"}],
                "replay": [after if hour < 23 else {"day": 1, "from": "00:00", "to": "23:00"}],
            },
            certificate=campaign_content()["certificate"] | {"claim_from": (self.now - timedelta(hours=2)).isoformat()},
            platforms=[
                {"source": "standard", "title": "快手"},
                {"source": "other", "title": "抖音", "modes": ["replay"]},
            ],
            units=UNITS,
            channels={},
            forms=[form()],  # of the counties, for every lesson; nobody reports
        )

    def play(self) -> None:
        """All evenings up to the present one, whose events are still to come."""
        self.put(f"/v1/campaigns/{CAMPAIGN}", self.definition())
        enrolled = self.post([self._enrolment(number) for number in range(VIEWERS)])
        assert enrolled["counts"] == {"recorded": VIEWERS}, enrolled
        history = self.folder / "history.txt"
        with history.open("w") as file:
            for days_ago, viewers in zip(DAYS_AGO, (20, 30, 40, 50), strict=True):
                self._evening(days_ago, viewers)
                file.writelines(self._history(self.now - timedelta(days=days_ago)))
                self._replay(days_ago)
            file.write("# EOF\n")

    def _evening(self, days_ago: int, viewers: int) -> None:
        self.clock_is(self.now - timedelta(days=days_ago))
        self.check_in(range(viewers), days_ago)

    def _replay(self, days_ago: int) -> None:
        hour = self.now.hour
        at = (self.now - timedelta(days=days_ago)).replace(hour=0, minute=10) + timedelta(hours=min(hour + 1, 24))
        self.clock_is(at + timedelta(minutes=5))
        self.check_in(range(50, 55), days_ago, at=at)

    def check_in(self, numbers: Sequence[int] | range, days_ago: int = 0, at: datetime | None = None) -> None:
        moment = at or self.now - timedelta(days=days_ago)
        answer = self.post([self.event("viewer.checked_in", number, moment, f"c{days_ago}") for number in numbers])
        assert "rejected" not in answer["counts"], answer
        accepted = sum(answer["counts"].get(verdict, 0) for verdict in ("recorded", "stored"))
        of_lesson = self.sent.setdefault(self.lesson(days_ago), {"live": 0, "replay": 0})
        of_lesson["replay" if at else "live"] += accepted
        self.settle()

    def play_another(self, viewers: int) -> None:
        """A second campaign, at the same time: no board may add its figures to those of the first."""
        self.put(
            f"/v1/campaigns/{CAMPAIGN}-too",
            self.definition() | {"campaign_id": f"{CAMPAIGN}-too", "title": "另一个活动"},
        )
        events = [self.event("viewer.checked_in", number, self.now, "too") for number in range(viewers)]
        answer = self.post([event | {"campaign_id": f"{CAMPAIGN}-too"} for event in events])
        assert answer["counts"] == {"recorded": viewers}
        self.settle()

    def claim_one(self) -> None:
        """As a viewer does: with the code from the text, and the phone it went to."""
        text = next(iter(sorted((self.home.messages / CAMPAIGN).rglob("*.txt")))).read_text()
        code, phone = re.search(r"领取码 ([\w-]+)", text), re.search(r"^To: \+?(\d+)", text)
        assert code, text
        assert phone, text
        body = {"claim_code": code[1], "phone_tail": phone[1][-4:]}
        answer = self._http.post(self.url("certificate") + "/v1/claims", json=body)
        assert answer.status_code == 200, answer.text
        self.settle()

    def forge(self, posts: int) -> None:
        for _ in range(posts):
            answer = self._http.post(self.url("checkin") + "/v1/live/events", content=b"{}", headers=signature(b"{}"))
            assert answer.status_code == 401

    def _enrolment(self, number: int) -> dict[str, Any]:
        unit_code, group = PLACES[number % len(PLACES)]
        enrolled = self.event("viewer.enrolled", number, self.now - timedelta(days=8), "n")
        place = {"unit_code": unit_code, "group": group} if unit_code else {}
        return enrolled | place | {"name": "王示例", "phone": f"138{number:08}"}

    def event(self, kind: str, number: int, at: datetime, key: str) -> dict[str, Any]:
        return {
            "event_id": f"{key}-{kind}-{number}-{at:%Y%m%dT%H%M}",
            "type": kind,
            "campaign_id": CAMPAIGN,
            "viewer_id": f"v{number}",
            "occurred_at": at.isoformat(),
        }

    # ---- the stack -----------------------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        return read_env(self.home.env)

    @property
    def stack(self) -> Stack:
        return Stack(self.home, kept(self.home), load_or_create(self.home))

    def url(self, service: str) -> str:
        return self.env[f"{service.upper()}_URL"]

    def clock_is(self, now: datetime) -> None:
        write_clock(self.home.clock, now)
        self.settle()

    def settle(self) -> None:
        settle({service: self.url(service) for service in SERVICES})

    def get(self, url: str) -> Any:
        answer = self._http.get(url)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.env['ADMIN_TOKEN']}"}
        answer = self._http.put(self.url("checkin") + path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, events: list[dict[str, Any]]) -> Any:
        body = json.dumps(events).encode()
        headers = signature(body, self.env["WEBHOOK_SECRET"])
        answer = self._http.post(self.url("checkin") + "/v1/live/events", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sql(self, query: str, *, role: str = "postgres", password: str = "", database: str = "fanzha_reporting") -> Any:
        """The rows of a query as JSON, by psql."""
        server = self.stack.postgres
        url = server.url(role, password or None, database)
        command = [server.psql(Path("-"))[0], "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", url]
        wrapped = f"SELECT coalesce(json_agg(asked), '[]') FROM ({query}) AS asked"
        done = subprocess.run(command, input=wrapped, capture_output=True, text=True)
        assert done.returncode == 0, f"{query}\n{done.stderr}"
        return json.loads(done.stdout)

    def let_watchers_in(self) -> None:
        """As the provisioning job of the deployment does."""
        server = self.stack.postgres
        passwords = {"REPORTING_READER_PASSWORD": "pw_reader", "POSTGRES_EXPORTER_PASSWORD": "pw_exporter"}
        script = DEPLOY / "postgres" / "watchers.sql"
        subprocess.run(
            server.psql(script), env=environment({**server.psql_environment(), **passwords}), cwd="/", check=True
        )

    def as_reader(self, query: str) -> Any:
        return self.sql(query, role="reporting_reader", password="pw_reader")

    # ---- Prometheus ----------------------------------------------------------------------------------------------

    def _history(self, at: datetime) -> Iterator[str]:
        """What the services say now, as samples of a stretch of time around `at`; histograms left out."""
        first, last = (int((at + edge).timestamp()) for edge in HISTORY)
        for service in SERVICES:
            page = self._http.get(self.url(service) + "/metrics").text
            samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
            for sample in samples:
                if sample.name.startswith("fanzha_") and not sample.name.endswith("_bucket"):
                    labels = {**sample.labels, "job": service, "instance": "history"}
                    text = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items())
                    for moment in range(first, last, HISTORY_STEP_S):
                        yield f"{sample.name}{{{text}}} {sample.value} {moment}\n"

    def query(self, expr: str, *, minutes: int = 0) -> list[dict[str, Any]]:
        """The series of an instant query, or with `minutes` of a range query over the last so many."""
        if not minutes:
            answer = self._http.get(self.prometheus + "/api/v1/query", params={"query": expr})
        else:
            end = time.time()
            window = {"start": end - 60 * minutes, "end": end, "step": 5}
            answer = self._http.get(self.prometheus + "/api/v1/query_range", params={"query": expr, **window})
        assert answer.status_code == 200, f"{expr}\n{answer.text}"
        return list(answer.json()["data"]["result"])

    def everything_was_scraped(self) -> bool:
        """Whether this Prometheus itself has seen every target: only then does it notice that a series has ended."""
        targets = self.get(self.prometheus + "/api/v1/targets")["data"]["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)

    def value(self, expr: str) -> float:
        """The one number that an expression has; NaN while it has none."""
        samples = self.query(expr)
        assert len(samples) <= 1, samples
        return float(samples[0]["value"][1]) if samples else float("nan")


@contextmanager
def watched_campaign(folder: Path) -> Iterator[WatchedCampaign]:
    """Plays, watches, and ends everything it started."""
    watched = WatchedCampaign(folder)
    start = watched.now - timedelta(days=8)
    with ExitStack() as cleanup:
        devstack.up(watched.home, Console(quiet=True), ports="auto", clock_at=start)
        cleanup.callback(devstack.down, watched.home)
        watched.let_watchers_in()
        watched.play()
        data = folder / "tsdb"
        _tool("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history.txt", data)
        targets = {service: watched.url(service) for service in SERVICES} | _exporters(watched, cleanup)
        config = _configuration(folder, targets, watched.prometheus)
        with _prometheus(watched, config, data):
            _record_history(watched, folder / "recorded")
        for block in (folder / "recorded").iterdir():
            shutil.move(block, data)
        with _prometheus(watched, config, data):
            wait_until(watched.everything_was_scraped, 60)  # else what ends now would be shown for five minutes more
            yield watched


def _exporters(watched: WatchedCampaign, cleanup: ExitStack) -> dict[str, str]:
    """Starts those who tell of NATS, Postgres and the machine, and Alertmanager; their addresses by job."""
    stack, folder = watched.stack, watched.folder
    urls = {job: f"127.0.0.1:{free_port()}" for job in ("nats", "postgres", "node", "alertmanager")}
    textfiles = folder / "textfiles"
    textfiles.mkdir()
    (textfiles / "backup.prom").write_text(f"fanzha_backup_last_success_timestamp_seconds {time.time():.0f}\n")
    expiry = (
        f'fanzha_expires_timestamp_seconds{{kind="tls",name="tls_certificate.pem"}} {time.time() + 90 * 86400:.0f}\n'
    )
    (textfiles / "expiry.prom").write_text(expiry)
    database = stack.postgres.url("postgres_exporter", "pw_exporter", "postgres") + "?sslmode=disable"
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "nats": (
            [sys.executable, "-m", "upkeep.nats_exporter"],
            {
                "NATS_MONITORING_URL": f"http://127.0.0.1:{stack.nats.monitoring_port}",
                "HOST": "127.0.0.1",
                "PORT": urls["nats"].rpartition(":")[2],
            },
        ),
        "postgres": (
            ["prometheus-postgres-exporter", f"--web.listen-address={urls['postgres']}"],
            {"DATA_SOURCE_NAME": database},
        ),
        "node": (
            [
                "prometheus-node-exporter",
                f"--web.listen-address={urls['node']}",
                f"--collector.textfile.directory={textfiles}",
            ],
            {},
        ),
        "alertmanager": (
            [
                "prometheus-alertmanager",
                f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={urls['alertmanager']}",
                "--cluster.listen-address=",
            ],
            {},
        ),
    }
    for job, (command, variables) in commands.items():
        cleanup.enter_context(_running(command, variables, folder / f"{job}.log"))
    return {job: f"http://{address}" for job, address in urls.items()}


def _configuration(folder: Path, targets: dict[str, str], prometheus_url: str) -> Path:
    """The deployment's own configuration, with addresses of this machine and a shorter wait between scrapes."""
    content = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    content["global"] = {f"{what}_interval": f"{SCRAPE_S}s" for what in ("scrape", "evaluation")}
    content["global"]["external_labels"] = {"boards": "https://boards.example"}
    addresses = {job: url.removeprefix("http://") for job, url in (targets | {"prometheus": prometheus_url}).items()}
    content["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [addresses[job["job_name"]]]}]}
        for job in content["scrape_configs"]
    ]
    content["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [addresses["alertmanager"]]}]}]
    shutil.copytree(DEPLOY / "prometheus" / "rules", folder / "rules")
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def _prometheus(watched: WatchedCampaign, config: Path, data: Path) -> Iterator[None]:
    address = watched.prometheus.removeprefix("http://")
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        "--storage.tsdb.retention.time=400d",
    ]
    with _running(command, {}, watched.folder / "prometheus.log"):
        wait_until(lambda: _answers(watched.prometheus + "/-/ready"), 60)
        yield


def _record_history(watched: WatchedCampaign, output: Path) -> None:
    """What the recording rules would have recorded on those days."""
    rules = DEPLOY / "prometheus" / "rules" / "figures.yml"
    for days_ago in DAYS_AGO:
        first, last = (str(int((watched.now - timedelta(days=days_ago) + edge).timestamp())) for edge in HISTORY)
        window = ["--start", first, "--end", last, "--eval-interval", f"{HISTORY_STEP_S}s"]
        where = ["--url", watched.prometheus, "--output-dir", str(output)]
        _tool("promtool", "tsdb", "create-blocks-from", "rules", *window, *where, rules)


@contextmanager
def _running(command: Sequence[str], variables: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            dying_with_parent(list(command)),
            env=environment(variables),
            cwd=DEPLOY.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _tool(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def wait_until(look: Callable[[], T], within_s: float) -> T:
    """What `look` finds once it finds something; fails with the last answer."""
    give_up_at = time.monotonic() + within_s
    while not (value := look()):
        assert time.monotonic() < give_up_at, f"still {value!r} after {within_s} s"
        time.sleep(0.2)
    return value
