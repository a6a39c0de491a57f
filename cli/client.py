"""How commands reach a service: address and token from the environment or the dev stack, errors as one clear message."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import typer

from cli.failures import way_reason, with_details
from devstack.home import Home, read_env

TIMEOUT_S = 60  # a definition of 8 MiB is checked and stored in far less
LISTED_MAX = 50


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1 and `message` (zh-Hans: what is wrong and what to do) on stderr."""
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)


def setting(key: str) -> str:
    """`key` from the environment, else from the dev stack's `env` file."""
    if value := os.environ.get(key):
        return value
    path = Home.from_environment().env
    if not path.exists():
        fail(f"不知道 {key}：环境变量没有设置，{path} 也不存在。请先运行 make up，或设置环境变量 {key}")
    if value := read_env(path).get(key):
        return value
    fail(f"{path} 里没有 {key}。请重新运行 make up，或设置环境变量 {key}")


class ServiceClient:
    """JSON in, JSON out. A call that fails in any way ends the command, but `find` answers None for 404."""

    def __init__(self, service: str, http: httpx.Client) -> None:
        self.service = service
        self._http = http

    def get(self, path: str, **params: str | int) -> Any:
        return self._answer(self._send("GET", path, params=params))

    def find(self, path: str, **params: str | int) -> httpx.Response | None:
        """The whole response of a GET, or None where there is nothing (404)."""
        response = self._send("GET", path, params=params)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        self._answer(response)
        return response

    def fetch(self, path: str, media_type: str, **params: str | int) -> bytes:
        """The answer to a GET in this type, as it came."""
        response = self._send("GET", path, params=params, headers={"accept": media_type})
        if response.is_error:
            self._answer(response)
        if not response.headers.get("content-type", "").startswith(media_type):
            fail(f"{self.service} 没有给出 {media_type}。请核对它的版本是否与 fanzha 相同（{self._http.base_url}）")
        return response.content

    def page(self, path: str, body: Any) -> bytes:
        """The page (HTML) that a POST is answered with."""
        response = self._send("POST", path, json=body, headers={"accept": "text/html, application/json;q=0.5"})
        if response.is_error:
            fail(f"{self.service} 拒绝了请求（{response.status_code}）")
        return response.content

    def put(self, path: str, body: Any) -> Any:
        return self._answer(self._send("PUT", path, json=body))

    def post(self, path: str, body: Any) -> Any:
        return self._answer(self._send("POST", path, json=body))

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TimeoutException:
            fail(f"{self.service} 在 {TIMEOUT_S} 秒内没有回答（{self._http.base_url}）。请查看它的日志后重试")
        except httpx.HTTPError as error:
            _fail_on_the_way(self.service, str(self._http.base_url), error)

    def _answer(self, response: httpx.Response) -> Any:
        if response.is_error:
            fail(f"{self.service} 拒绝了请求（{response.status_code}）：{problem_text(response)}")
        try:
            return response.json()
        except ValueError:
            fail(
                f"{self.service} 的回答不是 JSON。请核对 {self.service.upper()}_URL 是否指向该服务（{self._http.base_url}）"
            )


@contextmanager
def client(service: str = "checkin") -> Iterator[ServiceClient]:
    """A client of `service` at `<SERVICE>_URL`, with the admin token."""
    url, token = setting(f"{service.upper()}_URL"), setting("ADMIN_TOKEN")
    local = _host_of(url) in ("127.0.0.1", "localhost", "::1")  # never through a proxy
    headers = {"authorization": f"Bearer {token}"}
    try:
        http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=not local)
    except httpx.InvalidURL as error:
        _fail_on_the_way(service, url, error)
    with http:
        yield ServiceClient(service, http)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None  # httpx says what is wrong with it


def _fail_on_the_way(service: str, url: str, error: Exception) -> NoReturn:
    todo = f"请确认服务已启动（make up），地址在 {service.upper()}_URL"
    fail(with_details(f"连不上 {service}（{url}）：{way_reason(error)}。{todo}", error))


def problem_text(response: httpx.Response) -> str:
    """RFC 9457 problem details as text: title, detail, and one line per entry of a list member such as `errors`."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "title" not in problem:
        return response.text[:500] or response.reason_phrase
    lines = [problem["title"]]
    if problem.get("detail"):
        lines.append(str(problem["detail"]))
    for entries in problem.values():
        if isinstance(entries, list):
            lines += [f"  - {_entry(entry)}" for entry in entries[:LISTED_MAX]]
    return "\n".join(lines)


def _entry(entry: Any) -> str:
    if isinstance(entry, dict) and "message" in entry:
        place = entry.get("at") or entry.get("field")
        return f"{place}：{entry['message']}" if place else str(entry["message"])
    return str(entry)
