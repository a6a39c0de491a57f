"""A route for the hot path: described by FastAPI, served as Starlette would."""

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """OpenAPI shows it like any other, and errors are answered as ever. Its endpoint takes the `Request` and returns the
    `Response`; FastAPI solves no dependencies and opens no exit stacks for it, which cost as much as the work itself."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # 405
            return
        response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)
