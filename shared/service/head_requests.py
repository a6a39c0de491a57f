"""HEAD works where GET does: link checkers, monitors and chat previews ask so. FastAPI answers them 405."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """The outermost ASGI middleware: it shows the service a HEAD request as a GET. The server still knows that it is a HEAD and
    sends no body (RFC 9110 9.3.2), because the scope is copied and not changed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
