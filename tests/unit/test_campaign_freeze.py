"""What may still change in a campaign that has begun."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.contracts.campaign_freeze import FROZEN_KEYS, frozen_differences
from tests.support.campaigns import campaign, campaign_content, unit

FIRST_OPENS = datetime.fromisoformat("2024-06-29T19:30:00+08:00")
FIRST_EVENING = datetime.fromisoformat("2024-06-29T21:00:00+08:00")

FIRST, SECOND = campaign_content()["lessons"]
UNITS = campaign_content()["units"]
OWN_HOURS = {"live": [{"from": "19:10", "to": "19:20"}]}

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "time_zone": ("time_zone", {"time_zone": "Asia/Tokyo"}),
    "windows": ("windows", {"windows": {"live": [{"from": "19:30", "to": "20:30"}]}}),
    "live_grace_s": ("live_grace_s", {"live_grace_s": 60}),
    "credit": ("credit", {"credit": ["live", "replay"]}),
    "required_days": ("required_days", {"required_days": 1}),
    "seal_after_hours": ("seal_after_hours", {"seal_after_hours": 24}),
    "an opened lesson's hours": ("lessons[0]", {"lessons": [FIRST | {"windows": OWN_HOURS}, SECOND]}),
    "an opened lesson's date": ("lessons[0]", {"lessons": [FIRST | {"date": "2024-06-28"}, SECOND]}),
    "an opened lesson removed": ("lessons[0]", {"lessons": [SECOND, {"date": "2024-07-01", "title": "三"}]}),
    "a lesson before an opened one": (
        "lessons[0]",
        {"lessons": [{"date": "2024-06-28", "title": "零"}, FIRST, SECOND]},
    ),
    "a unit removed": ("units", {"units": UNITS[:-1], "channels": {}}),
    "data kept longer than was told": ("retain_days", {"retain_days": 181}),
    "a group removed": ("groups", {"groups": campaign_content()["groups"][:1]}),
}

ALLOWED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "data kept shorter": {"retain_days": 30},
    "an opened lesson's title": {"lessons": [FIRST | {"title": "改"}, SECOND]},
    "a lesson to come gets its own hours": {"lessons": [FIRST, SECOND | {"windows": OWN_HOURS}]},
    "a lesson to come, retitled": {"lessons": [FIRST, SECOND | {"title": "改"}]},
    "a lesson to come, moved": {"lessons": [FIRST, SECOND | {"date": "2024-07-02"}]},
    "a lesson added at the end": {"lessons": [FIRST, SECOND, {"date": "2024-07-01", "title": "三"}]},
    "a lesson inserted before one to come": {
        "lessons": [FIRST, {"date": "2024-06-30", "title": "新"}, {"date": "2024-07-01", "title": "三"}]
    },
    "a unit added": {"units": [*UNITS, unit("112", "11", "county")]},
    "a unit renamed and moved": {"units": [*UNITS[:-1], unit("111-EDU", "11", "unit", name="新名")]},
    "units in another order": {"units": UNITS[::-1]},
    "a group added": {"groups": [*campaign_content()["groups"], {"code": "women", "name": "妇女"}]},
    "a channel added": {"channels": {"QR-1": "111-EDU", "QR-2": "111"}},
    "words": {"title": "新标题", "closing_time": "17:30", "messages": []},
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_that_would_falsify_the_past_is_refused(change: str) -> None:
    key, changes = REFUSED[change]
    [refusal] = frozen_differences(campaign(), campaign(**changes), FIRST_EVENING, has_checkins=True)
    assert refusal.startswith(f"{key}：")
    assert "原因：" in refusal


@pytest.mark.parametrize("change", ALLOWED)
def test_what_is_to_come_may_change(change: str) -> None:
    assert frozen_differences(campaign(), campaign(**ALLOWED[change]), FIRST_EVENING, has_checkins=True) == []


@pytest.mark.parametrize("change", REFUSED)
def test_everything_may_change_before_the_first_check_in(change: str) -> None:
    assert frozen_differences(campaign(), campaign(**REFUSED[change][1]), FIRST_EVENING, has_checkins=False) == []


def test_a_refusal_names_key_old_new_and_reason() -> None:
    refused = frozen_differences(campaign(), campaign(credit=["live", "replay"]), FIRST_EVENING, has_checkins=True)
    assert refused == [f"credit：原为 [live]，改为 [live, replay]。原因：{FROZEN_KEYS['credit']}"]


@pytest.mark.parametrize(("before_s", "frozen"), [(61, False), (60, True), (0, True)])
def test_a_lesson_freezes_when_checkin_would_accept_its_first_event(before_s: int, frozen: bool) -> None:
    changed = campaign(lessons=[FIRST | {"windows": OWN_HOURS}, SECOND])
    now = FIRST_OPENS - timedelta(seconds=before_s)
    assert bool(frozen_differences(campaign(), changed, now, has_checkins=True)) == frozen


def test_many_removed_units_are_counted_and_few_are_named() -> None:
    many = campaign(units=[*UNITS, *(unit(f"m{i}", "111", "unit") for i in range(20))])
    [refusal] = frozen_differences(many, campaign(), FIRST_EVENING, has_checkins=True)
    assert "m9 等 20 个" in refusal
    assert "m10" not in refusal
