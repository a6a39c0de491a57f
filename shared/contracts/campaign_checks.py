"""What must hold between the parts of a campaign definition. Each fault names its key and the remedy, in zh-Hans."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from shared.contracts.campaign_parts import (
    CAMPAIGN_MAX_DAYS,
    COURSE_KEYS,
    LEVELS,
    LessonWindow,
    RulesContent,
    Unit,
)

FAULTS_MAX = 100  # more would not be read
DEPTH_MAX = 12
COMPARED_MAX = 1_000  # names that a misspelt one is compared with: 10 ms


class Fault(NamedTuple):
    """`at` is the path of the key, such as `units[3].parent_code`."""

    at: str
    message: str


class Faults(ValueError):
    """Raised inside pydantic's validators; `campaign_errors.explain` takes it out again."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("；".join(f"{fault.at}: {fault.message}" if fault.at else fault.message for fault in faults))
        self.faults = faults[:FAULTS_MAX]


def suggestion(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name (zh-Hans): the known name that it resembles, or some of the known names."""
    if close := difflib.get_close_matches(name, known[:COMPARED_MAX], n=1):
        return f"；是否想写 {close[0]}？"
    return f"；可用的有 {'、'.join(known[:10])}" if known else "；请核对拼写"


def rules_faults(rules: RulesContent) -> list[Fault]:
    """A whole course or none, lessons sorted and unique, lists without duplicates, credit reachable."""
    faults = _course_faults(rules)
    dates = [lesson.date for lesson in rules.lessons]
    for index, (earlier, later) in enumerate(pairwise(dates), start=1):
        if later == earlier:
            faults.append(
                Fault(
                    f"lessons[{index}].date",
                    f"{later} 重复；每天只能有一节课，一节课可以有多个首播时段（windows.live）",
                )
            )
        elif later < earlier:
            faults.append(Fault(f"lessons[{index}].date", f"{later} 早于上一节课 {earlier}；请按日期先后排列"))
    if dates and rules.required_days and rules.required_days > len(dates):
        faults.append(
            Fault("required_days", f"{rules.required_days} 多于课程数 {len(dates)}；请写 1 到 {len(dates)} 之间的数")
        )
    faults += _duplicates("credit", rules.credit)
    faults += _duplicates("platforms", [platform.source for platform in rules.platforms], "source")
    faults += _duplicates("groups", [group.code for group in rules.groups], "code")
    faults += _duplicates("messages", [f"{rule.event}/{rule.channel}" for rule in rules.messages])
    faults += _duplicates("non_working_days", map(str, rules.non_working_days))
    faults += _duplicates("extra_working_days", map(str, rules.extra_working_days))
    for day in sorted(set(rules.non_working_days) & set(rules.extra_working_days)):
        faults.append(Fault("extra_working_days", f"{day} 同时写在 non_working_days 中；请只保留一处"))
    hours = [windows for windows in (rules.windows, *(lesson.windows for lesson in rules.lessons)) if windows]
    if "replay" in rules.credit and hours and not any(windows.replay for windows in hours):
        faults.append(Fault("credit", "写了 replay，但 windows.replay 为空；请补上重播时段或去掉 replay"))
    return faults


def _course_faults(rules: RulesContent) -> list[Fault]:
    """Faults of a campaign that has only some keys of a course, or has no course and lacks its first or last day, has
    platforms, or lasts too long."""
    missing = [key for key in COURSE_KEYS if not getattr(rules, key)]
    days = {"starts_on": rules.starts_on, "ends_on": rules.ends_on}
    if len(missing) < len(COURSE_KEYS):
        without = f"{'、'.join(COURSE_KEYS)} 要写齐；没有课程的活动一项也不写，改写 starts_on 和 ends_on"
        faults = [Fault(key, f"缺少这一项；{without}") for key in missing]
        return faults + [
            Fault(key, "有课程的活动从第一节课到最后一节课；请删除") for key, day in days.items() if day is not None
        ]
    faults = [
        Fault(key, f"缺少这一项；没有课程（{'、'.join(COURSE_KEYS)}）的活动要写 starts_on 和 ends_on")
        for key, day in days.items()
        if day is None
    ]
    if rules.platforms:
        faults.append(Fault("platforms", "没有课程的活动没有播出平台；请删除"))
    if rules.starts_on and rules.ends_on:
        if rules.ends_on < rules.starts_on:
            faults.append(Fault("ends_on", f"{rules.ends_on} 早于 starts_on {rules.starts_on}；请改正其中一个"))
        elif (rules.ends_on - rules.starts_on).days >= CAMPAIGN_MAX_DAYS:
            faults.append(Fault("ends_on", f"一个活动最长 {CAMPAIGN_MAX_DAYS} 天；请分成几个活动"))
    return faults


def window_faults(rules: RulesContent) -> list[Fault]:
    """A moment belongs to at most one lesson and mode: windows overlap only by the grace, and their local times exist."""
    faults = _missing_hours(rules)
    if faults:
        return faults
    for earlier, later in pairwise(rules.timeline):
        if later.opens_at >= later.closes_at:
            faults.append(
                Fault("live_grace_s", f"{rules.live_grace_s} 秒的宽限覆盖了{_named(rules, later)}整个时段；请缩短宽限")
            )
        elif later.opens_at < earlier.closes_at:
            faults.append(
                Fault(
                    "windows",
                    f"{_named(rules, earlier)}（含宽限至 {_local(rules, earlier.closes_at)}）与{_named(rules, later)}"
                    f"（{_local(rules, later.opens_at)} 起）重叠；请错开，使每个时刻只属于一节课的一种方式",
                )
            )
        if len(faults) >= 3:  # the same windows overlap on every day: three examples are enough
            break
    if not faults:
        faults += [
            Fault(
                f"platforms[{index}].windows",
                f"{platform.source} 的时段和方式与课程的时段没有交集；请核对 windows 和 modes",
            )
            for index, platform in enumerate(rules.platforms)
            if not rules.hours_of(platform)
        ]
    first = min((window.opens_at for window in rules.timeline), default=None)
    if not faults and first and rules.certificate and rules.certificate.claim_from < first:
        faults.append(
            Fault(
                "certificate.claim_from",
                f"{rules.certificate.claim_from.isoformat()} 早于第一节课开始 {_local(rules, first)}；请改为课程之后的时间",
            )
        )
    return faults


def tree_faults(units: Sequence[Unit], channels: Mapping[str, str]) -> list[Fault]:
    """One root, parents exist and are of a higher level, no cycles, no duplicates, channels lead to units."""
    faults = _duplicates("units", [unit.unit_code for unit in units], "unit_code")
    by_code = {unit.unit_code: unit for unit in units}
    roots = [index for index, unit in enumerate(units) if unit.parent_code is None]
    if not roots:
        faults.append(Fault("units", "没有根单位；请让最上级单位的 parent_code 为空"))
    for index in roots[1:]:
        faults.append(
            Fault(
                f"units[{index}].parent_code",
                f"{units[index].unit_code} 为空，但根单位已有 {units[roots[0]].unit_code}；请写上级单位的代码",
            )
        )
    for index, unit in enumerate(units):
        faults += _parent_faults(index, unit, by_code)
    if not faults:
        faults += _cycle_faults(units, by_code)
    for code, unit_code in channels.items():
        if unit_code not in by_code:
            faults.append(Fault(f"channels.{code}", f"指向不存在的单位 {unit_code}；请核对 unit_code"))
    return faults


def _parent_faults(index: int, unit: Unit, by_code: dict[str, Unit]) -> list[Fault]:
    if unit.parent_code is None:
        return []
    parent = by_code.get(unit.parent_code)
    if parent is None:
        return [
            Fault(f"units[{index}].parent_code", f"{unit.unit_code} 的上级 {unit.parent_code} 不存在；请核对上级代码")
        ]
    if LEVELS.index(unit.level) > LEVELS.index(parent.level) or unit.level == parent.level == "unit":
        return []
    return [
        Fault(
            f"units[{index}].level",
            f"{unit.unit_code} 的级别 {unit.level} 不低于上级 {parent.unit_code} 的级别 {parent.level}；"
            "级别从高到低为 country、province、city、county、unit，可以跳级，unit 之下还可以有 unit",
        )
    ]


def _cycle_faults(units: Sequence[Unit], by_code: dict[str, Unit]) -> list[Fault]:
    """Finds cycles by walking up. Only nodes of the level `unit` can form one: all others have parents of a higher level."""
    faults: list[Fault] = []
    for index, unit in enumerate(units):
        node, steps = unit, 0
        while node.parent_code is not None and steps <= DEPTH_MAX:
            node, steps = by_code[node.parent_code], steps + 1
        if node.parent_code is not None:
            faults.append(
                Fault(
                    f"units[{index}].parent_code",
                    f"{unit.unit_code} 的上级关系成环，或深于 {DEPTH_MAX} 级；请核对 parent_code",
                )
            )
    return faults


def _duplicates(at: str, values: Iterable[str], key: str | None = None) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in first:
            path = f"{at}[{index}].{key}" if key else f"{at}[{index}]"
            faults.append(Fault(path, f"{value} 重复（第 {first[value] + 1} 项已有）；请删除其中一项"))
        first.setdefault(value, index)
    return faults


def _missing_hours(rules: RulesContent) -> list[Fault]:
    """A local time that a daylight-saving change skips has no instant; a window must not begin or end there."""
    faults: list[Fault] = []
    for number, lesson in enumerate(rules.lessons):
        place = f"lessons[{number}].windows" if lesson.windows else "windows"
        windows = lesson.windows or rules.windows
        assert windows is not None  # noqa: S101 - whoever has lessons has windows
        for mode, listed in (("live", windows.live), ("replay", windows.replay)):
            for index, window in enumerate(listed):
                day = lesson.date + timedelta(days=window.day)
                for key, clock in (("from", window.opens), ("to", window.closes)):
                    local = rules.at(day, clock).astimezone(rules.zone)
                    if local.strftime("%H:%M") != clock.replace("24:00", "00:00"):
                        at = f"{place}.{mode}[{index}].{key}"
                        faults.append(Fault(at, f"{day} {clock} 在时区 {rules.time_zone} 不存在（夏令时）；请改时间"))
    return faults


def _named(rules: RulesContent, window: LessonWindow) -> str:
    return f" {rules.lessons[window.lesson_index].date} 的 {window.mode} "


def _local(rules: RulesContent, instant: datetime) -> str:
    return instant.astimezone(rules.zone).strftime("%m-%d %H:%M")
