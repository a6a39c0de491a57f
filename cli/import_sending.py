"""Rows of an export file go to checkin in posts, each repeated until it is answered 2xx, and every answer is counted."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import httpx
import msgspec
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cli.client import problem_text
from cli.import_events import Reading
from cli.import_file import Row
from cli.import_tally import NOT_SENT, Tally

POST_MAX_ROWS = 500
POST_MAX_BYTES = 900 * 1024  # checkin takes 1 MiB
POST_TIMEOUT_S = 60
RETRY_MAX_S = 10
RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})


REASONS = {
    "malformed": "内容格式不对",
    "unknown_type": "事件类型不认识",
    "unknown_campaign": "活动不存在",
    "in_future": "时间在将来",
    "outside_window": "不在任何课程的签到时段内",
    "not_of_platform": "不是这个平台的播出方式或时段（活动文件 platforms）",
    "replay_not_credited": "重播签到，本活动不计入",
    "late": "逾期：封账以后才收到",
    "superseded": "已有更新的报名信息",
}


class Lost(Exception):
    """A post was not answered 2xx within the time allowed."""


class _Transient(Exception):
    """A failure that may be tried again; where the service asked for it, not before `after_s`."""

    def __init__(self, text: str, after_s: float = 0) -> None:
        super().__init__(text)
        self.after_s = after_s


class Refused(Exception):
    """A post was refused as a whole, and would be refused again."""


class Sender:
    """Posts batches until each is answered 2xx: repeats on refused connections, time-outs, 429 and 5xx."""

    def __init__(
        self, http: httpx.Client, path: str, *, give_up_after_s: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._http = http
        self._path = path
        self._retrying = Retrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_delay(give_up_after_s),
            wait=_wait,
            sleep=sleep,
            reraise=True,
        )

    def post(self, events: list[bytes]) -> list[dict[str, Any]]:
        """The results, in order. Raises `Lost` or `Refused`."""
        try:
            return self._retrying(self._try, b"[%b]" % b",".join(events))
        except _Transient as error:
            raise Lost(str(error)) from error

    def _try(self, body: bytes) -> list[dict[str, Any]]:
        try:
            response = self._http.post(self._path, content=body, headers={"content-type": "application/json"})
        except httpx.UnsupportedProtocol as error:
            raise Refused(f"地址 {self._http.base_url} 不对：{error}") from error
        except httpx.TransportError as error:
            raise _Transient(f"连不上 {self._http.base_url}（{error or type(error).__name__}）") from error
        if response.status_code in RETRY_STATUSES:
            raise _Transient(f"{response.status_code} {problem_text(response)}", _retry_after_s(response))
        if not response.is_success:
            raise Refused(f"{response.status_code} {problem_text(response)}")
        try:
            results: list[dict[str, Any]] = response.json()["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"回答不是 checkin 的。请核对 CHECKIN_URL（{self._http.base_url}）") from error
        return results


_backoff = wait_random_exponential(multiplier=0.2, max=RETRY_MAX_S)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.after_s if isinstance(error, _Transient) else 0
    return max(asked, _backoff(state))


def _retry_after_s(response: httpx.Response) -> float:
    """The header Retry-After in seconds. Our services do not use its date form, which counts as absent."""
    text = response.headers.get("retry-after", "")
    return min(float(text), RETRY_MAX_S) if text.isdigit() else 0


class Ready(NamedTuple):
    """A row that is ready to be posted."""

    row: Row
    body: bytes
    note: str | None


class Refusals(Protocol):
    def add(self, row: Row, why: str) -> None: ...


class Posting(Protocol):
    def post(self, events: list[bytes]) -> list[dict[str, Any]]: ...


def send_rows(
    rows: Iterator[Row], reading: Reading, sender: Posting, refusals: Refusals, tally: Tally, from_row: int = 0
) -> Iterator[None]:
    """Sends rows in posts; yields after each. Raises what reading and sending raise; `tally` says how far it came."""
    batch: list[Ready] = []
    size = 0
    for row in rows:
        if row.number < from_row:
            continue
        ready = _ready(row, reading, refusals, tally)
        if ready is None:
            continue
        if batch and (len(batch) == POST_MAX_ROWS or size + len(ready.body) > POST_MAX_BYTES):
            _send(batch, sender, refusals, tally)
            yield
            batch, size = [], 0
        batch.append(ready)
        size += len(ready.body) + 1
    if batch:
        _send(batch, sender, refusals, tally)
        yield


def _ready(row: Row, reading: Reading, refusals: Refusals, tally: Tally) -> Ready | None:
    outcome = None if row.fault else reading.event(row.fields)
    if outcome is None or outcome.event is None:
        why = row.fault or (outcome.refusal if outcome else "") or ""
        tally.refuse(row.number, NOT_SENT, why)
        refusals.add(row, why)
        return None
    tally.see(outcome)
    return Ready(row, msgspec.json.encode(outcome.event), outcome.note)


def _send(batch: list[Ready], sender: Posting, refusals: Refusals, tally: Tally) -> None:
    tally.next_row = batch[0].row.number
    for ready, result in zip(batch, sender.post([ready.body for ready in batch]), strict=True):
        verdict, reason = result["verdict"], result["reason"] or ""
        if verdict != "rejected":
            tally.counts[verdict, reason] += 1
        else:
            tally.refuse(ready.row.number, verdict, reason, result.get("field") or "")
            refusals.add(ready.row, _why(ready, reason, result.get("field")))
        tally.contacts_dropped += "dropped" in result
    tally.next_row = batch[-1].row.number + 1


def _why(ready: Ready, reason: str, at_field: str | None) -> str:
    """Why checkin refused a row, for whoever corrects it."""
    if reason != "malformed" or not ready.note:
        return REASONS.get(reason, reason)
    return f"{ready.note}（{at_field}）" if at_field else ready.note
