"""A phone has one spelling. The table is golden: databases hold HMACs of these spellings, so none may ever change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.people.phones import normalise_phone, normalise_phone_tail, phone_tail


@pytest.mark.parametrize(
    ("typed", "phone"),
    [
        ("13812345678", "13812345678"),
        ("+86 138-1234-5678", "13812345678"),
        ("+86（138）1234 5678", "13812345678"),
        ("008613812345678", "13812345678"),
        ("86 138 1234 5678", "13812345678"),
        ("１３８１２３４５６７８", "13812345678"),
        ("＋８６　１３８１２３４５６７８", "13812345678"),
        ("١٣٨١٢٣٤٥٦٧٨", "13812345678"),
        ("\u202d138 1234 5678\u202c", "13812345678"),  # copied from an address book
        ("138.1234.5678", "13812345678"),
        ("13812345678.0", "13812345678"),  # a number cell of a spreadsheet
        (" 8613812345678.0 ", "13812345678"),
        ("0350-3021234", "03503021234"),
        ("+852 9123 4567", "+85291234567"),
        ("+1 (212) 555-0100", "+12125550100"),
        ("3021234", "3021234"),
        ("+3021234", "+3021234"),
        ("123456789012345", "123456789012345"),
        ("+861381234567", "+861381234567"),  # no mobile number of the mainland: the prefix stays
        ("861381234567", "861381234567"),
        ("+86138123456789", "+86138123456789"),
        ("", None),
        ("没有", None),
        ("302123", None),
        ("1234567890123456", None),
        ("13812345678\n转", None),
        ("13812345678/13912345678", None),
        ("138123456.78", "13812345678"),
        ("1.3812345678E10", None),
        ("²13812345678", "213812345678"),
    ],
)
def test_a_phone_has_one_spelling(typed: str, phone: str | None) -> None:
    assert normalise_phone(typed) == phone
    assert phone_tail(typed) == (phone and phone[-4:])


@given(st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True, alphabet="+0123456789"))
def test_the_spelling_of_a_spelling_is_itself(number: str) -> None:
    """What a database holds is found again when it is typed as it stands."""
    once = normalise_phone(number)
    assert once is not None
    assert normalise_phone(once) == once


@pytest.mark.parametrize("typed", ["5678", " 5678 ", "５６７８", "56 78", "٥٦٧٨"])
def test_a_tail_is_compared_however_it_is_typed(typed: str) -> None:
    assert normalise_phone_tail(typed) == phone_tail("+86 138-1234-5678")
