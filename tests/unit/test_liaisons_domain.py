"""Who reports for a unit: codes on slips, people who may be named, how much of them is kept; and what notification reads."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from services.notification.liaisons.domain import Person, Unreadable, people_in
from services.reporting.liaisons import domain
from services.reporting.liaisons.domain import Contact, ContactUnusable, Mask, Masks, Post
from shared.codes import DrawBelow

PERSON = {"name": "刘明亮", "phone": "13812345678"}


def drawing(numbers: Iterator[int]) -> DrawBelow:
    return lambda below: next(numbers) % below


def test_a_code_is_three_groups_of_four_and_is_read_however_it_is_typed() -> None:
    code = domain.new_code(drawing(count(3)))
    assert [len(group) for group in code.split("-")] == [4, 4, 4]
    symbols = code.replace("-", "")
    for typed in (code, symbols, code.lower(), f" {symbols[:6]} {symbols[6:]} "):
        assert domain.code_as_kept(typed) == symbols
    other = "2" if symbols[0] != "2" else "3"
    for slip in (symbols[:-1], symbols + "2", other + symbols[1:], "", "?" * 12):
        assert domain.code_as_kept(slip) is None


def test_limits_of_devices_and_wrong_tries() -> None:
    assert timedelta(days=180) == domain.DEVICE_VALID_FOR
    assert (domain.DEVICES_PER_UNIT_MAX, domain.UNITS_PER_DEVICE_MAX) == (20, 50)
    assert (50, timedelta(hours=1)) == (domain.WRONG_TRIES_MAX, domain.WRONG_TRIES_WITHIN)


def test_somebody_is_kept_as_written_and_masked() -> None:
    told = domain.contact("liaison", " 刘明亮 ", "138 1234 5678")
    assert told == Contact("刘明亮", "13812345678")
    assert domain.masked({"liaison": told}) == {"liaison": Mask("刘*亮", "138****5678")}


@pytest.mark.parametrize(
    ("post", "name", "phone", "why"),
    [
        ("liaison", "刘" * 51, PERSON["phone"], "联络员："),
        ("deputy", " ", PERSON["phone"], "副联络员：姓名里没有看得见的字"),
        ("leader", "刘明亮", "123", "分管领导：电话应是 7 到 15 位数字，如 13812345678 或 0350-3021234"),
    ],
)
def test_who_cannot_be_reached_or_read_is_told_by_post(post: Post, name: str, phone: str, why: str) -> None:
    with pytest.raises(ContactUnusable) as refused:
        domain.contact(post, name, phone)
    assert str(refused.value).startswith(why)
    assert name.strip() not in str(refused.value) or not name.strip()


def test_another_liaison_is_somebody_else_and_another_deputy_is_not() -> None:
    liu, wang = Mask("刘*亮", "138****5678"), Mask("王*", "139****0000")
    before: Masks = {"liaison": liu, "deputy": liu}
    assert domain.is_somebody_else(before, {"liaison": wang, "deputy": liu})
    assert domain.is_somebody_else(before, {"deputy": liu})
    assert not domain.is_somebody_else(before, {"liaison": liu, "deputy": wang})
    assert not domain.is_somebody_else(None, {"liaison": liu})


def test_notification_reads_the_posts_that_it_knows() -> None:
    told = {"liaison": PERSON, "deputy": None, "leader": PERSON, "driver": PERSON}
    someone = Person("刘明亮", "13812345678")
    assert people_in(json.dumps(told).encode()) == {"liaison": someone, "leader": someone}
    assert people_in(json.dumps({"deputy": PERSON}).encode()) == {"deputy": someone}


@pytest.mark.parametrize(
    "told",
    [
        "no JSON",
        [],
        7,
        {"liaison": 1},
        {"liaison": {"name": "刘明亮"}},
        {"liaison": {"name": "刘明亮", "phone": 1}},
        "deep",
    ],
)
def test_a_contact_that_is_not_as_promised_is_unreadable_and_not_repeated(told: Any) -> None:
    raw = {"no JSON": "刘明亮", "deep": "[" * 100_000}.get(told) if isinstance(told, str) else json.dumps(told)
    with pytest.raises(Unreadable, match="a unit's contacts") as refused:
        people_in(str(raw).encode())
    assert "刘明亮" not in str(refused.value)
