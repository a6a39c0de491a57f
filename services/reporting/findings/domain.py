"""差异待核: the rules by which a report is to be looked at, and what is said of it (FACTS A12). Pure.

A rule says what it saw, never that something is wrong: a round number may be the true one. Rules look at the whole and decimal
numbers of a form, not at its tables; 集中观看 is a field of its own, which no rule compares with what is recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, get_args

from shared.contracts.campaign_forms import NUMBERS, PEOPLE, Form

Rule = Literal[
    "over_headcount",
    "same_as_last_period",
    "filed_before_lesson",
    "five_round_numbers",
    "far_from_recorded",
    "picture_seen_before",
]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)
State = Literal["open", "explained", "closed"]
STATES: Final[tuple[State, ...]] = get_args(State)
Numbers = Mapping[str, Any]

ROUND: Final = 10  # a number is round that this divides
ROUND_PERIODS: Final = 5
FAR_TIMES: Final = 2  # reported more than twice as many as recorded, or fewer than half
NEAR_PEOPLE: Final = 20  # up to so many people more or fewer are not far, whatever the ratio
ATTRIBUTED_MIN: Final = Fraction(1, 2)  # where fewer viewers belong to a unit, those recorded for one say too little
MINUTE: Final = timedelta(minutes=1)


class Recorded(NamedTuple):
    """`viewers`: people of the unit, with all below it, who were recorded for the lesson. `attributed`: the share of the lesson's
    viewers that belongs to any unit (FACTS A3); None where nobody was recorded."""

    viewers: int
    attributed: Fraction | None


class Pictures(NamedTuple):
    """How many of a report's pictures are in other reports: the same file, or one that looks nearly the same."""

    same: int = 0
    near: int = 0


class Seen(NamedTuple):
    """A report and what it is held against. `before`: what the unit has reported for earlier periods, the last one last.
    `lesson_opened_at`: when the lesson of the period began, where it is that of a lesson. `recorded`: None where it is too early
    to compare."""

    form: Form
    values: Mapping[str, Any]
    submitted_at: datetime
    headcount: int | None = None
    before: Sequence[Mapping[str, Any]] = ()
    lesson_opened_at: datetime | None = None
    recorded: Recorded | None = None
    pictures: Pictures = Pictures()


class Finding(NamedTuple):
    """What a rule saw. `reported`: the report's numbers by field; `against`: what they were held against."""

    rule: Rule
    reported: Numbers
    against: Numbers


def findings_in(seen: Seen) -> list[Finding]:
    """What is to be looked at in a report; most have nothing."""
    looked = ((rule, look(seen)) for rule, look in LOOKS.items())
    return [Finding(rule, *found) for rule, found in looked if found is not None]


# ---- the rules -------------------------------------------------------------------------------------------------------

Found = tuple[Numbers, Numbers] | None


def _over_headcount(seen: Seen) -> Found:
    """More 人数 than the unit has people."""
    if seen.headcount is None:
        return None
    people = {field.id for field in seen.form.fields if field.unit == PEOPLE}
    over = {name: n for name, n in _numbers(seen.form, seen.values).items() if name in people and n > seen.headcount}
    return (over, {"headcount": seen.headcount}) if over else None


def _same_as_last_period(seen: Seen) -> Found:
    """Every number as in the last report before; all zero is not looked at."""
    numbers = _numbers(seen.form, seen.values)
    if not seen.before or not any(numbers.values()):
        return None
    return (numbers, {}) if numbers == _numbers(seen.form, seen.before[-1]) else None


def _filed_before_lesson(seen: Seen) -> Found:
    """Sent before the lesson began that it is about."""
    if seen.lesson_opened_at is None or seen.submitted_at >= seen.lesson_opened_at:
        return None
    return {}, {"minutes": -((seen.submitted_at - seen.lesson_opened_at) // MINUTE)}


def _five_round_numbers(seen: Seen) -> Found:
    """A field whose number was a round one `ROUND_PERIODS` times running, and again after as many more."""
    history = [_numbers(seen.form, values) for values in (*seen.before, seen.values)]
    fields: dict[str, list[int]] = {}
    for name in history[-1]:
        running = _running_round([numbers.get(name) for numbers in history])
        if running and len(running) % ROUND_PERIODS == 0:
            fields[name] = running[-ROUND_PERIODS:]
    return (fields, {}) if fields else None


def _running_round(numbers: Sequence[Any]) -> list[Any]:
    """The round numbers at the end, back to the last one that is not."""
    running: list[Any] = []
    for n in reversed(numbers):
        if not n or n < 0 or n % ROUND:
            break
        running.insert(0, n)
    return running


def _far_from_recorded(seen: Seen) -> Found:
    """Far more or fewer viewers than recorded. Not all of a unit's viewers are known to be its own: of more, it is told how many
    would be recorded if everybody were attributed."""
    recorded = seen.recorded
    if recorded is None or recorded.attributed is None or recorded.attributed < ATTRIBUTED_MIN:
        return None
    compared = {field.id for field in seen.form.fields if field.compared_with is not None}
    fewest, most = recorded.viewers, recorded.viewers / recorded.attributed
    far = {
        name: n
        for name, n in _numbers(seen.form, seen.values).items()
        if name in compared
        and ((n > most * FAR_TIMES and n > most + NEAR_PEOPLE) or (n * FAR_TIMES < fewest and n < fewest - NEAR_PEOPLE))
    }
    attributed = float(round(recorded.attributed, 4))
    return (far, {"recorded": recorded.viewers, "attributed": attributed}) if far else None


def _picture_seen_before(seen: Seen) -> Found:
    """A picture that another report has, or nearly the same one."""
    return ({}, seen.pictures._asdict()) if any(seen.pictures) else None


LOOKS: Final[dict[Rule, Callable[[Seen], Found]]] = {
    "over_headcount": _over_headcount,
    "same_as_last_period": _same_as_last_period,
    "filed_before_lesson": _filed_before_lesson,
    "five_round_numbers": _five_round_numbers,
    "far_from_recorded": _far_from_recorded,
    "picture_seen_before": _picture_seen_before,
}


def _numbers(form: Form, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field → number. Decimals are kept as text."""
    names = (field.id for field in form.fields if field.type in NUMBERS and values.get(field.id) is not None)
    return {name: float(values[name]) if isinstance(values[name], str) else values[name] for name in names}


# ---- what is said of it ----------------------------------------------------------------------------------------------

RULE_NAMES: Final[dict[Rule, str]] = {
    "over_headcount": "超过单位人数",
    "same_as_last_period": "与上一期完全相同",
    "filed_before_lesson": "开课前报送",
    "five_round_numbers": f"连续 {ROUND_PERIODS} 期整数",
    "far_from_recorded": "与系统记录相差较大",
    "picture_seen_before": "图片曾经出现",
}
STATE_NAMES: Final[dict[State, str]] = {"open": "待核", "explained": "已说明", "closed": "已核"}


def text(finding: Finding, titles: Mapping[str, str]) -> str:
    """What was seen, as a sentence (zh-Hans). `titles`: of the form's fields. Somebody who may not see the attribution rate is
    given a finding without it."""
    reported, against = finding.reported, finding.against
    fields = "、".join(f"{titles.get(name, name)} {_shown(n)}" for name, n in reported.items())
    match finding.rule:
        case "over_headcount":
            seen = f"{fields}，超过单位人数 {against['headcount']}"
        case "same_as_last_period":
            seen = f"各项数字与上一期完全相同：{fields}"
        case "filed_before_lesson":
            seen = f"在开课前 {against['minutes']} 分钟报送"
        case "five_round_numbers":
            seen = f"连续 {ROUND_PERIODS} 期是 {ROUND} 的整倍数：{fields}"
        case "far_from_recorded":
            rate = f"（全活动归属率 {against['attributed']:.1%}）" if "attributed" in against else ""
            seen = f"上报 {fields}，系统记录 {against['recorded']} 人{rate}"
        case "picture_seen_before":
            seen = f"有 {against['same']} 张图片与别的报表相同，{against['near']} 张相近"
    return f"{seen}，待核"


def _shown(number: Any) -> str:
    return "、".join(map(str, number)) if isinstance(number, list) else str(number)
