"""A small HTTP server on a free port that stands in for a service: JSON in, JSON out, by (method, path)."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Route = Callable[[Any], tuple[int, Any]]  # body → status, answer; str is sent as text, bytes as the type asked for


def _not_found(body: Any) -> tuple[int, Any]:
    return 404, {"title": "没有找到"}


class JsonServer:
    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Route] = {}
        self.calls: list[tuple[str, str, dict[str, list[str]]]] = []
        self.tokens: set[str | None] = set()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Runs the server; yields its URL."""
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                url = urlsplit(self.path)
                stand_in.calls.append((self.command, url.path, parse_qs(url.query)))
                stand_in.tokens.add(self.headers["authorization"])
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                route = stand_in.routes.get((self.command, url.path), _not_found)
                status, answer = route(json.loads(body) if body else None)
                self.send_response(status)
                if isinstance(answer, bytes):
                    content = answer
                    self.send_header("content-type", self.headers["accept"])
                else:
                    content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
