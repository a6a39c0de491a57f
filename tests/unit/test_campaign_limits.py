"""The limits of a campaign definition: what is just allowed, and what is one too much."""

from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from shared.contracts.campaign import CampaignRules, SendWindow, Window, added_later
from shared.contracts.campaign_parts import CERTIFICATE_PLACEHOLDERS, MESSAGE_PLACEHOLDERS
from tests.support.campaigns import campaign, campaign_content, unit

ROOT = unit("1", None, "province")
RULE = {"event": "certificate_ready", "channel": "file", "template": "领取码 {claim_code}，96110"}


def is_taken(**changes: Any) -> bool:
    try:
        campaign(**changes)
    except ValidationError:
        return False
    return True


def days(count: int) -> list[str]:
    return [(date(2025, 1, 1) + timedelta(days=number)).isoformat() for number in range(count)]


def groups(count: int) -> list[dict[str, str]]:
    return [{"code": f"g{number}", "name": "群"} for number in range(count)]


def windows(count: int) -> dict[str, Any]:
    return {"live": [{"from": f"{hour:02}:00", "to": f"{hour:02}:30"} for hour in range(count)]}


def platforms(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"source": f"s{number}", "title": "平台"} | changes for number in range(count)]


def spans(count: int) -> list[dict[str, Any]]:
    """Windows of five minutes on the morning after the lesson, inside the campaign's replay."""
    return [
        {"day": 1, "from": f"{8 + number // 2:02}:{number % 2 * 3}0", "to": f"{8 + number // 2:02}:{number % 2 * 3}5"}
        for number in range(count)
    ]


def root(**changes: Any) -> list[dict[str, Any]]:
    return [ROOT | changes]


def residents(count: int, year: int) -> dict[str, Any]:
    return {"count": count, "year": year, "source": "统计局"}


@pytest.mark.parametrize(
    ("key", "most", "too_much"),
    [
        ("groups", groups(50), groups(51)),
        ("windows", windows(8), windows(9)),
        ("help", [{"title": "a", "text": "b"}] * 20, [{"title": "a", "text": "b"}] * 21),
        ("platforms", platforms(20), platforms(21)),
        ("platforms", platforms(1, windows=spans(16)), platforms(1, windows=spans(17))),
        ("non_working_days", days(400), days(401)),
        ("extra_working_days", days(400), days(401)),
        ("units", root(headcount=10_000_000), root(headcount=10_000_001)),
        ("units", root(headcount=0), root(headcount=-1)),
        ("units", root(residents=residents(2_000_000_000, 2100)), root(residents=residents(2_000_000_001, 2100))),
        ("units", root(residents=residents(1, 2100)), root(residents=residents(1, 2101))),
        ("units", root(residents=residents(1, 1949)), root(residents=residents(1, 1948))),
        ("units", root(residents=residents(1, 1949)), root(residents=residents(0, 1949))),
    ],
)
def test_a_limit_lets_in_the_most_and_not_more(key: str, most: Any, too_much: Any) -> None:
    beside: dict[str, Any] = {"channels": {}} if key == "units" else {}
    assert is_taken(**{key: most}, **beside)
    assert not is_taken(**{key: too_much}, **beside)


def test_a_window_ends_after_it_begins() -> None:
    for kind in (Window, SendWindow):
        assert kind.model_validate({"from": "08:00", "to": "08:01"}).opens == "08:00"
        with pytest.raises(ValidationError, match="不早于"):
            kind.model_validate({"from": "08:00", "to": "08:00"})
    rule = campaign(messages=[RULE | {"send_window": {"from": "08:00", "to": "22:00"}}]).messages[0]
    assert rule.send_window is not None
    assert (rule.send_window.opens, rule.send_window.closes) == ("08:00", "22:00")


def test_parts_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        campaign().lessons[0].title = "别的"


def test_a_key_that_came_later_shows_only_where_it_is_set() -> None:
    class Rules(BaseModel):
        forms: tuple[str, ...] = added_later(())

    assert (Rules().model_dump(), Rules(forms=("a",)).model_dump()) == ({}, {"forms": ("a",)})


def test_placeholders_are_those_that_the_documents_name() -> None:
    assert MESSAGE_PLACEHOLDERS["certificate_ready"] == {"campaign_title", "serial", "claim_code", "claim_page"}
    assert set(CERTIFICATE_PLACEHOLDERS) == {"name", "credited_days", "campaign_title", "first_date", "last_date"}
    for name in MESSAGE_PLACEHOLDERS["certificate_ready"]:
        assert is_taken(messages=[RULE | {"template": f"{{{name}}}，96110"}]), name
    certificate = campaign_content()["certificate"]
    for name in CERTIFICATE_PLACEHOLDERS:
        assert is_taken(certificate=certificate | {"body": f"{{{name}}}"}), name
    assert not is_taken(certificate=certificate | {"body": "{nobody}"})


def test_credit_names_each_mode_once_at_most() -> None:
    assert CampaignRules.model_fields["credit"].metadata[0].min_length == 1
    assert is_taken(credit=["live", "replay"])
    assert not is_taken(credit=["live", "replay", "live"])
