"""The proxies' configuration on a real nginx, on loopback: how large, how slow and how many, and what that costs in memory."""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from devstack.ports import free_port
from shared.bus.topology import SERVICES
from shared.pages import MENU
from shared.service.page_gate import RENEW, SIGN_IN
from tests.support.nats_support import eventually

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PROXY = Path(__file__).parents[2] / "deploy" / "proxy"
KIB = 1024
MIB = 1024 * KIB
IN_FRONT = "set_real_ip_from 127.0.7.0/24; real_ip_header X-Forwarded-For;"  # as in-front/README.md says
CONTAINER_MIB = 256  # docker-compose.yml, mem_limit
EVENTS, VERIFY = "/v1/live/events", "/v1/verify"
REPORTS, UPLOADS = "/r/reports", "/r/pictures"

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")


class Proxy:
    """A running nginx, and connections to it from addresses of 127.0.0.0/8."""

    def __init__(self, folder: Path, port: int, pid: int, callers: AsyncExitStack) -> None:
        self._folder = folder
        self._port = port
        self._pid = pid
        self._callers = callers
        self._tls = ssl.create_default_context(cafile=str(folder / "tls_certificate"))
        self._tls.check_hostname = False

    async def connect(self, address: str = "127.0.0.1") -> "Caller":
        streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, local_addr=(address, 0))
        caller = Caller(*streams)
        self._callers.callback(caller.close)
        return caller

    async def post(self, path: str, size: int, *, sent: int | None = None, address: str = "127.0.0.1") -> "Caller":
        """A post that declares `size` bytes; all of them are sent unless `sent` says how many."""
        caller = await self.connect(address)
        await caller.send(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (path.encode(), size)
        )
        await caller.send(b"x" * (size if sent is None else sent))
        return caller

    def memory_mib(self) -> float:
        """What counts against the container: its processes, and what they keep in /tmp, which is memory."""
        main = psutil.Process(self._pid)
        processes = [main, *main.children()]
        private = sum(process.memory_full_info().pss for process in processes)
        return (private + sum(self._in_tmp(process.pid) for process in processes)) / MIB

    def _in_tmp(self, pid: int) -> int:
        """The files have no names: nginx unlinks them at once. One may be closed while we look."""
        size = 0
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                size += descriptor.stat().st_size if "/body/" in str(descriptor.readlink()) else 0
        return size


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, str]:
        """Status and head; 0 where the connection is closed without one."""
        try:
            head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, ""
        return int(head.split()[1]), head

    def close(self) -> None:
        self._writer.transport.abort()


def configure(folder: Path, name: str, replace: dict[str, str]) -> Path:
    """The committed files, with this test's paths, ports and upstreams."""
    for source in PROXY.glob("*.conf"):
        text = source.read_text()
        for before, after in {" /tmp/": f" {folder}/", "/etc/fanzha": str(folder), "/run/secrets": str(folder)}.items():
            text = text.replace(before, after)
        for before, after in replace.items():
            text = re.sub(before, after, text)
        (folder / source.name).write_text(text)
    shutil.copytree(PROXY / "said", folder / "said")
    (folder / "in-front").mkdir()
    (folder / "in-front" / "own.conf").write_text(IN_FRONT)
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -keyout tls_key"
    )
    subprocess.run([*command.split(), "-out", "tls_certificate"], cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "tls_certificate", folder / "tls_authority")
    return folder / name


@asynccontextmanager
async def upstream(name: str = "") -> AsyncIterator[int]:
    """Answers 200 once a body of the declared length is there; `X-Saw` is the address it was told, `X-Cookie` what it was sent,
    `X-Is` its name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        saw = re.search(rb"(?i)x-forwarded-for: ([^\r]+)", head)
        cookie = re.search(rb"(?i)\r\ncookie: ([^\r]+)", head)
        told = b"X-Saw: %b\r\nX-Cookie: %b\r\nX-Is: %b\r\n" % (
            saw[1] if saw else b"",
            cookie[1] if cookie else b"",
            name.encode(),
        )
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\nConnection: close\r\n\r\n{}" % told)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """The public side's. A test may give it what an operator puts into in-front/."""
    port, health = free_port(), free_port()
    async with upstream() as behind, AsyncExitStack() as callers:
        addresses = {r"http://(checkin|certificate|reporting):\d+": f"http://127.0.0.1:{behind}"}
        slow = {"rate=10r/s": "rate=1r/s"}  # of tries to claim: a busy machine would not reach what is allowed
        file = configure(tmp_path, "public.conf", {"8443": str(port), "8080": str(health)} | addresses | slow)
        (tmp_path / "in-front" / "more.conf").write_text(getattr(request, "param", ""))
        log = tmp_path / "log"
        with log.open("wb") as output:
            options = ("-c", str(file), "-g", "user root;")  # pytest's folders are closed to others
            process = await asyncio.create_subprocess_exec(str(NGINX), *options, stdout=output, stderr=output)
        try:
            await eventually(lambda: _listens(process, port), what="nginx listens")
            yield Proxy(tmp_path, port, process.pid, callers)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            print(log.read_text()[-20_000:])  # noqa: T201 - shown where a test failed


async def _listens(process: asyncio.subprocess.Process, port: int) -> bool:
    assert process.returncode is None, "nginx ended"
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("name", ["public.conf", "public-side.conf", "crossing.conf", "office.conf"])
def test_nginx_accepts_the_file(tmp_path: Path, name: str) -> None:
    file = configure(tmp_path, name, {"office-side:8446": "127.0.0.1:8446"})
    done = subprocess.run([str(NGINX), "-t", "-c", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        (EVENTS, MIB, 200),
        (EVENTS + "/kuaishou", MIB, 200),
        (EVENTS, MIB + 1, 413),
        (VERIFY, 16 * KIB, 200),
        (VERIFY, 16 * KIB + 1, 413),
        ("/v1/claims", 16 * KIB + 1, 413),
        ("/claim", 16 * KIB + 1, 413),
        ("/r/devices", 16 * KIB + 1, 413),
        (REPORTS, 256 * KIB, 200),
        (REPORTS, 256 * KIB + 1, 413),
        (UPLOADS, 8 * MIB + 256 * KIB, 200),
        (UPLOADS, 8 * MIB + 256 * KIB + 1, 413),
    ],
)
async def test_a_body_is_as_large_as_its_path_says(proxy: Proxy, path: str, size: int, status: int) -> None:
    answered, head = await (await proxy.post(path, size)).answer()
    assert answered == status
    if status == 413:
        assert "application/problem+json" in head


@pytest.mark.parametrize(
    ("source", "status"),
    [
        *((name, 200) for name in ("kuaishou", "a.b:c-d_E9", "2", "...", "x" * 64)),
        ("a%3Ab", 200),  # as some clients write a colon
        *(
            (name, 404)
            for name in ("", "..", "a/b", "a%2Fb", "a%20b", "%E6%8A%96%E9%9F%B3", "a;b", "..%2F..%2Fmetrics")
        ),
    ],
)
async def test_every_name_that_a_source_can_have_is_let_through_and_nothing_else(
    proxy: Proxy, source: str, status: int
) -> None:
    assert (await (await proxy.post(f"{EVENTS}/{source}", 10)).answer())[0] == status


async def test_large_bodies_at_once_are_limited_and_small_ones_go_on(proxy: Proxy) -> None:
    slow = [await proxy.post(EVENTS, MIB, sent=1000, address=f"127.0.0.{1 + n % 3}") for n in range(60)]
    status, head = await slow[-1].answer()
    assert (status, "retry-after: 2" in head.lower()) == (429, True)
    assert (await (await proxy.post(EVENTS, 1000)).answer())[0] == 200
    assert (await (await proxy.post(VERIFY, 1000)).answer())[0] == 200


async def test_one_address_does_not_take_all_places_for_large_bodies(proxy: Proxy) -> None:
    slow = [await proxy.post(EVENTS, MIB, sent=1000, address="127.0.0.9") for _ in range(29)]
    assert (await slow[-1].answer())[0] == 429
    assert (await (await proxy.post(EVENTS, MIB, address="127.0.0.2")).answer())[0] == 200


async def test_tries_to_claim_are_slowed_down_by_address(proxy: Proxy) -> None:
    """The rate on which docs/decisions/claim-tries.md reckons. What is no try goes on."""
    crowd = [await proxy.post("/v1/claims", 10, address="127.0.0.9") for _ in range(60)]
    assert {(await each.answer())[0] for each in crowd} == {200}
    flood = [await proxy.post("/claim", 10, address="127.0.0.9") for _ in range(60)]
    assert (await flood[-1].answer())[0] == 429
    assert (await (await proxy.post(VERIFY, 10, address="127.0.0.9")).answer())[0] == 200
    assert (await (await proxy.post("/v1/claims", 10, address="127.0.0.2")).answer())[0] == 200


async def test_a_slow_sender_is_sent_away(proxy: Proxy) -> None:
    for path, size in ((EVENTS, MIB), (VERIFY, 10 * KIB)):
        status, _ = await (await proxy.post(path, size, sent=size // 2)).answer()
        assert status in (0, 408)


async def test_what_the_outside_can_make_it_hold_is_less_than_the_container_has(proxy: Proxy) -> None:
    """All connections taken: large and small bodies half sent, from many addresses, and callers who only say hello."""
    addresses = [f"127.0.1.{n}" for n in range(1, 101)]
    highest = 0.0
    for path, size, number in (
        (EVENTS, MIB, 400),
        (REPORTS, 256 * KIB, 200),
        (UPLOADS, 8 * MIB, 100),
        (EVENTS, 16 * KIB, 600),
        (VERIFY, 16 * KIB, 600),
    ):
        posts = (proxy.post(path, size, sent=size - 1, address=addresses[n % 100]) for n in range(number))
        await asyncio.gather(*posts, return_exceptions=True)  # some are hung up on before they have sent it all
        highest = max(highest, proxy.memory_mib())
    await asyncio.gather(*(proxy.connect(address) for address in addresses * 4), return_exceptions=True)
    highest = max(highest, proxy.memory_mib())
    print(f"nginx holds {highest:.0f} MiB at most")  # noqa: T201 - shown by -s
    assert highest < CONTAINER_MIB * 0.8


class OfficeProxy:
    """`ports` by the port that the file names; `http` trusts its certificate."""

    def __init__(self, ports: dict[int, int], http: httpx.AsyncClient) -> None:
        self._ports = ports
        self._http = http

    async def get(self, path: str, port: int = 8440, **headers: str) -> httpx.Response:
        return await self._http.get(f"https://127.0.0.1:{self._ports[port]}{path}", headers=headers)

    async def post(self, path: str, body: bytes, port: int = 8440) -> httpx.Response:
        return await self._http.post(f"https://127.0.0.1:{self._ports[port]}{path}", content=body)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[OfficeProxy]:
    ports = {number: free_port() for number in range(8440, 8446)}
    replace = {f"listen {number}": f"listen {port}" for number, port in ports.items()}
    async with AsyncExitStack() as stack:
        for name in (*SERVICES, "grafana"):
            behind = await stack.enter_async_context(upstream(name))
            replace[rf"http://{name}:\d+"] = f"http://127.0.0.1:{behind}"
        file = configure(tmp_path, "office.conf", replace | {"127.0.0.1:8080": f"127.0.0.1:{free_port()}"})
        shutil.copy(PROXY / "office.html", tmp_path)
        process = await asyncio.create_subprocess_exec(str(NGINX), "-c", str(file), "-g", "user root;")
        try:
            await eventually(lambda: _listens(process, ports[8440]), what="nginx listens")
            tls = ssl.create_default_context(cafile=str(tmp_path / "tls_certificate"))
            tls.check_hostname = False
            http = await stack.enter_async_context(httpx.AsyncClient(verify=tls))
            yield OfficeProxy(ports, http)
        finally:
            process.terminate()
            await process.wait()


async def test_the_office_begins_at_a_page_that_leads_to_everything(office: OfficeProxy) -> None:
    page, other = await office.get("/"), await office.get("/office.conf")
    assert (page.status_code, other.status_code) == (200, 404)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = set(re.findall(r'href="https://127\.0\.0\.1:(\d+)/(?:docs)?"', page.text))
    assert links == {str(number) for number in range(8441, 8446)}
    assert set(re.findall(r'href="(/[a-z-]+)"', page.text)) == {
        "/account",
        "/invitation",
        "/campaigns",
        "/certificates",
    }
    assert "办公入口" in page.text


async def test_one_door_leads_to_the_pages_of_every_service_and_to_nothing_else(office: OfficeProxy) -> None:
    paths = (
        {item.path for item in MENU}
        | {"/r", "/r/reports", "/r/pictures", "/r/worker.js"}
        | {"/sign-in", "/sign-in/renew", "/invitation", "/campaigns/x", "/messages"}
    )
    found = {path: (await office.get(path)).headers.get("x-is") for path in paths | {"/desk", "/certificates"}}
    of = {"campaigns": "checkin", "messages": "notification", "certificates": "certificate"}
    assert found == {path: of.get(path.split("/")[1], "reporting") for path in found}
    for path in (
        "/v1/campaigns",
        "/docs",
        "/metrics",
        "/deskx",
        "/campaignsx",
        "/campaigns/../v1/campaigns",
        "/health/live",
    ):
        assert (await office.get(path)).status_code == 404, path


async def test_a_page_that_signs_in_or_renews_works_at_each_services_own_port(office: OfficeProxy) -> None:
    """Where somebody opens a page there, ten minutes later too: what the page's gate redirects to is on the same port."""
    ports = {8441: "checkin", 8442: "reporting", 8443: "notification", 8444: "certificate"}
    for port, service in ports.items():
        for path in (SIGN_IN, RENEW, "/sign-in/second-step", "/sign-out", "/account", "/invitation"):
            assert (await office.get(path, port)).headers["x-is"] == "reporting", (port, path)
        for path in ("/certificates", "/v1/campaigns", "/accounts", "/docs"):
            assert (await office.get(path, port)).headers["x-is"] == service, (port, path)


async def test_a_list_of_accounts_fits_through_the_door_and_larger_bodies_do_not(office: OfficeProxy) -> None:
    sizes = [("/campaigns/make-goods/preview", 1024), ("/campaigns/make-goods", 1025), ("/certificates", 17)]
    statuses = [(await office.post(path, b"x" * (kib * 1024))).status_code for path, kib in sizes]
    assert statuses == [200, 413, 413]


async def test_a_picture_of_a_report_may_be_large_and_nothing_else_there(office: OfficeProxy) -> None:
    pictures = "/v1/campaigns/c-2024/units/140902/pictures"
    for path, size, status in ((pictures, 8 * MIB, 200), (pictures, 10 * MIB, 413), (f"{pictures}/x", MIB, 413)):
        assert (await office.post(path, bytes(size), port=8442)).status_code == status, path


async def test_grafana_gets_its_own_cookies_and_nobody_elses(office: OfficeProxy) -> None:
    sent = "__Host-fanzha=secret; grafana_session=g1; __Host-fanzha-form=f; grafana_session_expiry=17; other=o"
    seen = (await office.get("/", 8445, cookie=sent)).headers["x-cookie"]
    assert seen == "grafana_session=g1; grafana_session_expiry=17; "[:-1]
    assert (await office.get("/", 8445, cookie="__Host-fanzha=secret")).headers["x-cookie"] == ""
    assert "__Host-fanzha=secret" in (await office.get("/account", cookie=sent)).headers["x-cookie"]


@pytest.mark.parametrize(("address", "seen"), [("127.0.7.1", "203.0.113.9"), ("127.0.0.1", "127.0.0.1")])
async def test_only_a_proxy_that_was_named_is_believed_about_whom_it_speaks_for(
    proxy: Proxy, address: str, seen: str
) -> None:
    caller = await proxy.connect(address)
    await caller.send(b"GET /claim HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    status, head = await caller.answer()
    assert (status, re.findall(r"X-Saw: (\S+)", head)) == (200, [seen])


@pytest.mark.parametrize(
    ("accept", "kind"), [("text/html,*/*;q=0.8", "text/html; charset=utf-8"), ("*/*", "application/problem+json")]
)
async def test_a_browser_is_told_as_a_page_that_there_is_none(proxy: Proxy, accept: str, kind: str) -> None:
    caller = await proxy.connect()
    await caller.send(b"GET /v1/campaigns HTTP/1.1\r\nHost: x\r\nAccept: %b\r\n\r\n" % accept.encode())
    status, head = await caller.answer()
    assert (status, re.findall(r"(?i)content-type: (.*?)\r", head)) == (404, [kind])
    assert "strict-transport-security" in head.lower()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/favicon.ico", 200),
        ("/files/t/certificate.png", 200),
        ("/v/7K3M9QXV/preview.png", 200),
        ("/files/t/other.png", 404),
        ("/v/7K3M9QXV/preview.png/x", 404),
        ("/v/7K3M9QXV/other.png", 404),
    ],
)
async def test_pictures_are_reached_and_nothing_beside_them(proxy: Proxy, path: str, status: int) -> None:
    caller = await proxy.connect()
    await caller.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    assert (await caller.answer())[0] == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/r", 200),
        ("/r?unit=x", 200),
        ("/r/receipts/7K3M-9QXV-2HDN", 200),
        ("/r/reports/small-2024/111/daily/2024-06-29", 200),
        ("/rx", 404),
        ("/r/../metrics", 404),
        ("/sign-in", 404),
        ("/desk", 404),
        ("/v1/campaigns/c/units/u/pictures", 404),
    ],
)
async def test_the_public_reaches_the_liaisons_page_and_nothing_else_of_reporting(
    proxy: Proxy, path: str, status: int
) -> None:
    caller = await proxy.connect()
    await caller.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    assert (await caller.answer())[0] == status


@pytest.mark.parametrize("proxy", ['map "" $liaison_page { default inside; }'], indirect=True)
async def test_an_operator_may_keep_the_liaisons_page_inside(proxy: Proxy) -> None:
    for path in ("/r", "/r/worker.js"):
        caller = await proxy.connect()
        await caller.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        assert (await caller.answer())[0] == 404
    for path in (REPORTS, UPLOADS):
        assert (await (await proxy.post(path, 10)).answer())[0] == 404
    assert (await (await proxy.post(VERIFY, 10)).answer())[0] == 200
