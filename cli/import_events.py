"""One row of an export file becomes one event as the live platform would have sent it. Pure.

A row that is merely wrong is sent as it stands, so that checkin refuses it and keeps the refusal, as it does for the other ways
in (DESIGN §4.7); `Outcome.note` says in plain Chinese what checkin calls `malformed`. Rows that checkin would misunderstand are
not sent: those of another campaign, and those with an account that a spreadsheet has rounded.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from shared.contracts.base import ID_PATTERN
from shared.contracts.campaign import CampaignDefinition
from shared.sheets import cell_text, code_text, spoilt

CELL_MAX_CHARS = 1000  # the longest field is 100; checkin decides up to here, so that a post stays far below 1 MiB

TYPE_NAMES = {
    "签到": "viewer.checked_in",
    "报名": "viewer.enrolled",
    "答题": "quiz.answered",
    "中奖": "prize.won",
    "关注": "account.followed",
}
SAYS: dict[str, tuple[str, ...]] = {  # beside viewer and time, which every event needs
    "viewer.checked_in": (),
    "viewer.enrolled": ("unit_code", "channel", "group"),
    "quiz.answered": ("quiz",),
    "prize.won": ("prize",),
    "account.followed": ("account",),
}
OF_EVERY_EVENT = ("campaign_id", "type", "viewer_id", "occurred_at")
CONTACTS = ("name", "phone", "guardian_consent")  # only an enrolment needs them; from other rows they are not even sent
CONSENTS = dict.fromkeys(("是", "同意", "已同意", "true", "yes", "y", "1", "√"), True) | dict.fromkeys(
    ("否", "不同意", "未同意", "false", "no", "n", "0", "×"), False
)
CODES = {"viewer_id": "账号", "event_id": "事件 ID", "unit_code": "单位", "channel": "渠道码", "group": "人群"}
NUMBERED = CODES | {
    "phone": "手机号",
    "campaign_id": "活动 ID",
    "quiz": "题目",
    "prize": "奖品",
    "account": "关注账号",
}  # what a spreadsheet may take for a number
NOTHING = frozenset(
    {"null", "(null)", "<null>", "nil", "nan", "-nan", "none", "<na>", "n/a", "#n/a", "na", "\\n", "undefined"}
    | {"#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!"}
    | {"-", "--", "—", "——", "/", "无", "空", "暂无", "未知", "未填", "未填写", "不详"}
)
_BLANKS = " \t\u3000\u00a0\u200b\u200c\u200d\u2060\ufeff"  # also the marks that nobody sees
SHEET_EPOCH = datetime(1899, 12, 30)  # day 0 of a spreadsheet's serial date
SHEET_DAYS = range(36_526, 73_051)  # 2000 to 2099
UNIX_S = range(946_684_800, 4_102_444_800)  # 2000 to 2099

_LOCAL_TIME = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[ T]*(上午|下午)?\s*(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2})(?:\.\d+)?秒?|分?)"
)
_HALF_TIME = re.compile(
    r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|(?:上午|下午)?\d{1,2}[:：时]\d{1,2}(?:[:：分]\d{1,2})?(?:\.\d+)?[分秒]?"
)
_MIDNIGHT = re.compile(r"[ T]0?0:00(:00)?(\.0+)?$")  # behind a day, where an export has no days without a time
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,15})?")


class Outcome(NamedTuple):
    """`event` is to be sent, or None where `refusal` says why not; `note` explains it if checkin finds it malformed."""

    event: dict[str, Any] | None
    refusal: str | None = None
    note: str | None = None
    unknown: tuple[tuple[str, str], ...] = ()  # field and code of an enrolment that the campaign does not have
    unused: tuple[str, ...] = ()  # fields that hold something and that an event of this type has no use for


@dataclass(frozen=True)
class Reading:
    """How to read cells: the time zone of times without an offset, and the campaign's names for groups and units."""

    campaign_id: str
    type: str
    zone: tzinfo
    groups: Mapping[str, str]  # name → code
    units: Mapping[str, str]  # name → code, names that several units share left out
    codes: frozenset[str]  # of units, channels and groups, and their names
    codes_of: Mapping[str, Collection[str]]  # field → the codes that the campaign has

    @classmethod
    def of(cls, definition: CampaignDefinition, event_type: str) -> "Reading":
        shared_by = Counter(_folded(unit.name) for unit in definition.units)
        named = {_folded(unit.name): unit.unit_code for unit in definition.units}
        units = {name: code for name, code in named.items() if shared_by[name] == 1}
        groups = {group.name: group.code for group in definition.groups}
        codes_of = {
            "unit_code": {unit.unit_code for unit in definition.units},
            "channel": set(definition.channels),
            "group": set(groups.values()),
        }
        known = frozenset(named.keys() | groups.keys()).union(*codes_of.values())
        return cls(definition.campaign_id, event_type, definition.zone, groups, units, known, codes_of)

    def in_zone(self, zone: tzinfo | None) -> "Reading":
        """The same with the zone that a file says its times are in."""
        return self if zone is None else replace(self, zone=zone)

    def event(self, fields: Mapping[str, Any]) -> Outcome:
        """The event of a row's fields."""
        fields = with_day(fields)
        texts = {field: code_text(value) if field in NUMBERED else cell_text(value) for field, value in fields.items()}
        texts = {field: text for field, text in texts.items() if text in self.codes or not says_nothing(text)}
        if refusal := self._refusal(fields, texts):
            return Outcome(None, refusal)
        occurred_at = moment(fields["occurred_at"], self.zone) if "occurred_at" in texts else None
        event: dict[str, Any] = texts | {
            "type": TYPE_NAMES.get(texts.get("type", self.type), texts.get("type", self.type)),
            "campaign_id": self.campaign_id,
            "occurred_at": occurred_at.isoformat() if occurred_at else texts.get("occurred_at", ""),
        }
        unused = _unused(event)
        if event["type"] != TYPE_NAMES["报名"]:
            event = {field: text for field, text in event.items() if field not in CONTACTS}
        if "group" in event:
            event["group"] = self.groups.get(event["group"], event["group"])
        if "unit_code" in event:
            event["unit_code"] = self.units.get(_folded(event["unit_code"]), event["unit_code"])
        if "guardian_consent" in event:
            event["guardian_consent"] = CONSENTS.get(
                event["guardian_consent"].strip().lower(), event["guardian_consent"]
            )
        event.setdefault("event_id", derived_id(event))
        return Outcome(event, None, _note(event, occurred_at), self._unknown(event), unused)

    def _unknown(self, event: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        if event["type"] != TYPE_NAMES["报名"]:
            return ()
        return tuple(
            (field, event[field])
            for field, codes in self.codes_of.items()
            if field in event and event[field] not in codes
        )

    def _refusal(self, fields: Mapping[str, Any], texts: Mapping[str, str]) -> str | None:
        if texts.get("campaign_id", self.campaign_id) != self.campaign_id:
            return "属于其他活动"
        nested = next((field for field, value in fields.items() if isinstance(value, list | dict)), None)
        if nested:
            return f"{nested} 不是一个文字或数字"
        for field, name in NUMBERED.items():
            if what := spoilt(fields.get(field), texts.get(field, "")):
                return f"{name}被表格软件当成{what}；请从平台重新导出，并把该列设为文本"
        damaged = next((text for text in texts.values() if "\ufffd" in text or "锟斤拷" in text), None)
        if damaged:
            return f"“{damaged[:40]}”里有损坏的字符；请从平台重新导出"
        too_long = next((field for field, text in texts.items() if len(text) > CELL_MAX_CHARS), None)
        if too_long:
            return f"{too_long} 超过 {CELL_MAX_CHARS} 个字符"
        return None


def with_day(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Day and time of day of two columns as one time."""
    more = dict(fields)
    if "occurred_on" not in more:
        return more
    day, clock = more.pop("occurred_on"), more.get("occurred_at", "")
    if isinstance(day, float) and int(day) in SHEET_DAYS:
        day = SHEET_EPOCH + timedelta(days=int(day))
    day = day.date() if isinstance(day, datetime) else day
    if isinstance(clock, float) and 0 <= clock < 1:
        clock = timedelta(days=clock)
    match day, clock:
        case date(), time():
            more["occurred_at"] = datetime.combine(day, clock)
        case date(), timedelta() if timedelta() <= clock < timedelta(days=1):
            more["occurred_at"] = datetime.combine(day, time()) + clock
        case _, timedelta() if timedelta() <= clock < timedelta(days=1):
            more["occurred_at"] = f"{_MIDNIGHT.sub('', cell_text(day))} {_to_second(SHEET_EPOCH + clock).time()}"
        case _:
            more["occurred_at"] = f"{_MIDNIGHT.sub('', cell_text(day))} {cell_text(clock)}"
    return more


def says_nothing(text: str) -> bool:
    """Whether a cell is blank or holds a word for an empty value, such as NULL, nan or 无."""
    return not text.strip(_BLANKS) or text.strip(_BLANKS).casefold() in NOTHING


def moment(cell: Any, zone: tzinfo) -> datetime | None:
    """The time in a cell, in `zone` where it has no offset; None where it is none, or has no time of day."""
    match cell:
        case bool():
            return None
        case datetime():
            local = cell
        case int() | float():
            return _from_number(cell, zone)
        case str() if _NUMBER.fullmatch(cell):
            return _from_number(float(cell), zone)
        case str():
            return _from_text(cell.replace("：", ":").strip(), zone)
        case _:
            return None
    return _to_second(local).replace(tzinfo=zone)


def _from_text(text: str, zone: tzinfo) -> datetime | None:
    match = _LOCAL_TIME.fullmatch(text)
    try:
        if match is None:
            at = datetime.fromisoformat(text) if ":" in text else None
            return at.replace(tzinfo=zone) if at and at.tzinfo is None else at
        year, month, day, half, hour, minute, second = match.groups()
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=zone)
    except ValueError:
        return None
    if half == "下午" and at.hour < 12:
        at += timedelta(hours=12)
    return at - timedelta(hours=12) if half == "上午" and at.hour == 12 else at


def _from_number(number: float, zone: tzinfo) -> datetime | None:
    """A spreadsheet's serial date, or seconds or milliseconds since 1970."""
    if not math.isfinite(number):
        return None
    if int(number) in SHEET_DAYS and number != int(number):
        return _to_second(SHEET_EPOCH + timedelta(days=number)).replace(tzinfo=zone)
    seconds = number / 1000 if int(number / 1000) in UNIX_S else number
    return datetime.fromtimestamp(seconds, UTC) if int(seconds) in UNIX_S else None


def _to_second(at: datetime) -> datetime:
    """The second that a time lies in. A serial date is a binary fraction of a day, so it is a few microseconds too early or
    late."""
    return (at + timedelta(microseconds=50)).replace(microsecond=0)


def _unused(event: Mapping[str, Any]) -> tuple[str, ...]:
    if (says := SAYS.get(event["type"])) is None:
        return ()
    more = CONTACTS if event["type"] == TYPE_NAMES["报名"] else ()
    return tuple(field for field in event if field not in OF_EVERY_EVENT + says + more and field != "event_id")


def derived_id(event: Mapping[str, Any]) -> str:
    """An id for a row that has none: the same row gets the same id in every file. Names and phones are not part of it, because
    ids are stored and shown.

    It only names the row in answers. Whether a row is a repeat is decided by checkin, from its content (DESIGN §4.5).
    """
    kept = (*OF_EVERY_EVENT, *SAYS.get(event["type"], ()))
    parts = [event.get(field, "") for field in kept]
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"import-{digest[:32]}"


def _note(event: Mapping[str, Any], occurred_at: datetime | None) -> str:
    """What is most likely wrong with the row, in case checkin answers `malformed` (zh-Hans)."""
    if not event.get("viewer_id"):
        return "没有账号（空格，或 NULL、nan、无 之类的字样）"
    if not event["occurred_at"]:
        return "没有时间（空格，或 NULL、nan、无 之类的字样）"
    if occurred_at is None and _HALF_TIME.fullmatch(event["occurred_at"]):
        return f"时间“{event['occurred_at']}”只有日期或只有钟点；分在两列的，请用 --map occurred_at=日期列名+时间列名"
    if occurred_at is None:
        return f"时间“{event['occurred_at'][:40]}”看不懂；请写成 2024/6/29 19:31"
    for field, name in CODES.items():
        if not re.fullmatch(ID_PATTERN, event.get(field, "-")):
            also = "，也不是活动里唯一的名称" if field in ("unit_code", "group") else ""
            return f"{name}“{event[field][:40]}”不是代码（字母、数字和 . _ : -，最多 64 个）{also}"
    if isinstance(event.get("guardian_consent"), str):
        return f"监护人同意“{event['guardian_consent'][:40]}”看不懂；请写 是 或 否"
    return "内容格式不对：姓名最多 50 个字符，手机号最多 32 个字符，不能有控制字符，年份在 2000 至 2199 之间"


def _folded(name: str) -> str:
    """Unit names are compared with brackets of either width (FACTS, "Chinese formats and habits")."""
    return name.replace("（", "(").replace("）", ")").replace(" ", "")
