"""A route for the hot path: described by FastAPI, served as Starlette would."""

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from shared.service.guarded_route import GuardedRoute


class DirectRoute(GuardedRoute):
    """OpenAPI shows it like any other, and errors are answered as ever. Its endpoint takes the `Request` and returns the
    `Response`; FastAPI solves no dependencies and opens no exit stacks for it, which cost as much as the work itself."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)
