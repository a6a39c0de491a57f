"""Names, passphrases and invitations of the office's people, as they are typed and as they are kept."""

from datetime import UTC, datetime, timedelta

import pytest

from services.reporting.people.domain import (
    CODE_ALPHABET,
    INVITATION_VALID_FOR,
    code_as_kept,
    is_invited,
    name_as_kept,
    new_code,
    passphrase_as_kept,
    wrong_with_passphrase,
)

NOW = datetime(2024, 6, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("王芳", "王芳"),
        ("  王　芳 \t（忻府） ", "王 芳 (忻府)"),
        ("Ｗａｎｇ", "Wang"),
        ("王" * 100, "王" * 100),
        ("王" * 101, None),
        ("", None),
        (" 　", None),
        ("王\u200b芳", None),
        ("a", "a"),
    ],
)
def test_a_name_is_kept_as_it_is_compared(typed: str, kept: str | None) -> None:
    assert name_as_kept(typed) == kept


def test_a_passphrase_is_the_same_from_any_keyboard_and_is_cut_off() -> None:
    assert passphrase_as_kept("ａｂｃ　１２３") == "abc 123"
    assert passphrase_as_kept("x" * 300) == "x" * 256


@pytest.mark.parametrize(
    ("passphrase", "says"),
    [
        ("abcde" + "x" * 7, None),
        ("abcde" + "x" * 6, "至少 12 个字符"),
        ("abcde" + "x" * 123, None),
        ("abcde" + "x" * 124, "最多 128 个字符"),
        ("abcde" + "e" * 7, None),
        ("abcd" + "d" * 8, "重复的字符太多"),
        ("Wangfang2024", "不要用自己的姓名"),
        ("WANGFANG20245", "不要用自己的姓名"),
        ("wangfang-20-45", None),
    ],
)
def test_a_passphrase_is_long_and_not_the_name(passphrase: str, says: str | None) -> None:
    refused = wrong_with_passphrase(passphrase, "wangfang")
    assert (refused is None) if says is None else (refused is not None and says in refused)


def test_a_code_has_sixteen_symbols_in_groups_and_is_understood_as_typed() -> None:
    numbers = iter(range(16))
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return next(numbers)

    assert new_code(draw) == "2345-6789-ABCD-EFGH"
    assert asked == [31] * 16
    assert new_code(lambda below: below - 1, 8) == "ZZZZ-ZZZZ"
    assert (len(CODE_ALPHABET), set("01ILO") & set(CODE_ALPHABET)) == (31, set())


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("2345-6789-ABCD-EFGH", "23456789ABCDEFGH"),
        (" ２３４５－６７８９　abcd.efgh ", "23456789ABCDEFGH"),
        ("2345-6789-ABCD-EFG", None),
        ("2345-6789-ABCD-EFGHJ", None),
        ("2345-6789-ABCD-EFG0", None),
        ("2-3-4-5-6-7-8-9-A-B-C-D-E-F-G-H" + " " * 33, "23456789ABCDEFGH"),
        (" " * 49 + "23456789ABCDEFGH", None),
        (" " * 48 + "23456789ABCDEFGH", "23456789ABCDEFGH"),
        ("", None),
    ],
)
def test_a_code_is_kept_as_its_symbols(typed: str, kept: str | None) -> None:
    assert code_as_kept(typed) == kept


def test_a_shorter_code_has_its_own_length() -> None:
    assert code_as_kept("zzzz 2345", 8) == "ZZZZ2345"
    assert code_as_kept("zzzz 23456", 8) is None


def test_an_invitation_is_good_for_three_days_unless_it_was_revoked() -> None:
    assert timedelta(days=3) == INVITATION_VALID_FOR
    until = NOW + INVITATION_VALID_FOR
    assert is_invited(until, None, until - timedelta(microseconds=1))
    assert not is_invited(until, None, until)
    assert not is_invited(None, None, NOW)
    assert not is_invited(until, NOW, NOW)
