"""The routes of every service: the token and the size of a request are checked before its body is read.

FastAPI by itself reads and parses a body before it looks at dependencies.
"""

from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from shared.service.bodies import BODY_MAX_BYTES, Bodies
from shared.service.page_gate import OwnForms, PageGate
from shared.service.tokens import Gate


class GuardedRoute(APIRoute):
    """For `APIRouter(route_class=GuardedRoute)`. Each `requires(…)` and
    `signed_in(…)` among the endpoint's parameters is asked first. A body may
    have `max_body_size` bytes, as the route says, else `BODY_MAX_BYTES`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gates = tuple(_gates(self.dependant))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in (self.methods or ()):
            await super().handle(scope, receive, send)  # answers 405
        elif method == "GET":
            await self._let_in(scope, receive, send)
        else:
            bodies: Bodies = scope["app"].state.bodies
            body = bodies.expect(scope, receive, self.max_body_size or BODY_MAX_BYTES)
            try:
                await self._let_in(scope, body.receive, send)
            finally:
                body.let_go()

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        for gate in self.gates:
            gate.admit(Request(scope))
        await self.answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request whose token was accepted."""
        await super().handle(scope, receive, send)


def _gates(dependant: Dependant) -> Iterator[Gate | PageGate | OwnForms]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Gate | PageGate | OwnForms):
            yield dependency.call
        yield from _gates(dependency)
