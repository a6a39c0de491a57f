"""An answer as a sheet, for those who ask for one: `Accept: text/csv` or the type of XLSX. Everybody else gets JSON."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from shared.sheets import CSV_TYPE, XLSX_TYPE, Page, as_csv, as_xlsx

SHEETS: dict[int | str, dict[str, Any]] = {200: {"content": {CSV_TYPE: {}, XLSX_TYPE: {}}}}  # for OpenAPI

_OF_JSON = ("application/json", "application/*", "*/*")
_OF_CSV = (CSV_TYPE, "text/*")
_WEIGHT = re.compile(r";\s*q=([01](?:\.[0-9]*)?)")

Answer = TypeVar("Answer")


async def in_kind_asked(
    request: Request, answer: Answer, pages: Callable[[Answer], Sequence[Page]]
) -> Answer | Response:
    """The answer as JSON, or as a sheet: its first page as CSV, or all pages as XLSX."""
    kind = kind_asked(request.headers.get("accept", ""))
    if kind is None:
        return answer

    def body() -> bytes:
        sheets = pages(answer)
        return as_csv(sheets[0]) if kind == CSV_TYPE else as_xlsx(*sheets)

    content = await asyncio.to_thread(body)  # 20,000 rows take a second
    return Response(content, media_type=kind, headers={"vary": "accept", "cache-control": "no-store"})


def kind_asked(accept: str) -> str | None:
    """The type of sheet that this `Accept` prefers (RFC 9110 §12.5.1); None for JSON, and for what nobody can make."""
    for kind in sorted((part.strip() for part in accept.split(",")), key=_weight, reverse=True):
        name = kind.partition(";")[0].strip().lower()
        if _weight(kind) == 0 or name in _OF_JSON:
            return None
        if name in _OF_CSV:
            return CSV_TYPE
        if name == XLSX_TYPE:
            return XLSX_TYPE
    return None


def _weight(kind: str) -> float:
    weight = _WEIGHT.search(kind)
    return float(weight[1]) if weight else 1.0
