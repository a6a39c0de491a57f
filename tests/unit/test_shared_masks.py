"""An account or a phone that is shown masked leads nobody back to the person."""

from hypothesis import given
from hypothesis import strategies as st

from shared.people.masks import mask_account, mask_phone


def test_one_character_at_each_end_from_six_on() -> None:
    assert mask_account("ks_8812") == "k****2"
    assert mask_account("ks_881") == "k****1"
    assert mask_account("ks_88") == "****"


@given(st.text(st.sampled_from("abc:_-.019"), min_size=1, max_size=64))
def test_an_account_shows_at_most_two_characters(viewer_id: str) -> None:
    assert len(mask_account(viewer_id).replace("*", "")) <= 2


def test_a_phone_shows_its_beginning_and_its_end_and_a_short_one_two_digits() -> None:
    assert mask_phone("13812345678") == "138****5678"
    assert mask_phone("13812345678"[:10]) == "****67"
    assert mask_phone("3021234") == "****34"
