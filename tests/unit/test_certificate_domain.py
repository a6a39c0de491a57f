"""Serials, codes, signatures, names and masks of certificates."""

import base64
import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from services.certificate.domain import (
    CertificateContent,
    SigningKey,
    Verdict,
    canonical_bytes,
    certificate_document,
    mask_holder,
    new_claim_code,
    new_code,
    new_serial,
    normalise_claim_code,
    normalise_code,
    normalise_serial,
    valid_serial,
    verify_document,
)
from shared.addresses import network_of
from shared.codes import ALPHABET
from shared.contracts.campaign import LESSONS_MAX
from shared.people.names import NAME_MAX_CHARS, NameRefused, mask_name, normalise_name
from shared.service.bodies import BODY_MAX_BYTES

CONTENT = CertificateContent(
    serial="2222-2222-2222",
    campaign_id="jinshan-2024",
    campaign_title="晋善警美 全民反诈",
    issuer="示例市反诈中心",
    viewer_id="ks_8812",
    name="㐱𬭎·示例",
    credited_lessons=tuple(date(2024, 6, 29) + timedelta(days=day) for day in range(16)),
    issued_at=datetime(2024, 7, 14, 12, 0, tzinfo=UTC),
)
KEY = SigningKey(bytes(range(32)))
PUBLIC_KEYS = {KEY.key_id: KEY.public_key}
GOLDEN_SERIALS = ("7K3M-9QXV-2HDN", "ABCD-EFGH-JKM4", "WXYZ-9876-5438")  # as the first version printed them

serials = st.randoms(use_true_random=False).map(lambda source: new_serial(source.randrange))
symbols = st.sampled_from(ALPHABET)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
han_names = st.text(st.sampled_from("刘李欧阳司马亮小明㐱𬭎䶮𠅤买提"), min_size=1, max_size=8)


json_keys = st.sampled_from(["content", "signature", "format", "algorithm", "key_id", "value", "x"])
any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(json_keys, inner),
)


def places(serial: str) -> list[int]:
    return [at for at, char in enumerate(serial) if char != "-"]


def document() -> dict[str, Any]:
    return certificate_document(CONTENT, KEY.sign(CONTENT))


class TestSerial:
    @given(serials)
    def test_is_valid_and_an_id(self, serial: str) -> None:
        assert valid_serial(serial)
        assert len(serial) == 14

    @pytest.mark.parametrize(
        ("drawn", "serial"), [(0, "2222-2222-2222"), (123456789, "425Q-B622-2229"), (31**11 - 1, "ZZZZ-ZZZZ-ZZZQ")]
    )
    def test_is_made_of_one_draw_for_ever_in_the_same_way(self, drawn: int, serial: str) -> None:
        def draw(below: int) -> int:
            assert below == 31**11
            return drawn

        assert new_serial(draw) == serial

    @pytest.mark.parametrize("serial", GOLDEN_SERIALS)
    def test_has_the_check_symbol_that_it_was_printed_with_and_no_other(self, serial: str) -> None:
        assert [symbol for symbol in ALPHABET if valid_serial(serial[:-1] + symbol)] == [serial[-1]]

    @pytest.mark.parametrize("serial", GOLDEN_SERIALS)
    def test_one_wrong_symbol_is_noticed(self, serial: str) -> None:
        wrong = [serial[:at] + symbol + serial[at + 1 :] for at in places(serial) for symbol in ALPHABET]
        wrong = [typed for typed in wrong if typed != serial]
        assert len(wrong) == 12 * 30
        assert not any(map(valid_serial, wrong))

    @pytest.mark.parametrize("serial", GOLDEN_SERIALS)
    def test_any_two_exchanged_symbols_are_noticed(self, serial: str) -> None:
        for one, other in combinations(places(serial), 2):
            typed = list(serial)
            typed[one], typed[other] = typed[other], typed[one]
            assert valid_serial("".join(typed)) is (serial[one] == serial[other])

    @pytest.mark.parametrize("documented", [new_serial, normalise_serial])
    def test_the_docstrings_example_is_one(self, documented: Callable[..., object]) -> None:
        [example] = re.findall(r"`([^`]+)`", documented.__doc__ or "")
        assert normalise_serial(example) == "7K3M-9QXV-2HDN"

    @pytest.mark.parametrize(
        "text", ["", "2222-2222", "2222-2222-222O", "2222 2222 2222", "2222-2222-2222\n", "-" * 14]
    )
    def test_other_text_is_no_serial(self, text: str) -> None:
        assert not valid_serial(text)

    @given(serials)
    def test_is_understood_as_people_type_it(self, serial: str) -> None:
        full_width = "".join(chr(ord(char) + 0xFEE0) if char != "-" else "－" for char in serial)
        for typed in (serial.lower(), serial.replace("-", ""), f" {serial.replace('-', ' ')} ", full_width):
            assert normalise_serial(typed) == serial


class Drawn:
    """Stands for `secrets.randbelow`: returns a fixed number, and records the limits that it was given."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.limits: list[int] = []

    def __call__(self, below: int) -> int:
        self.limits.append(below)
        return self.number


class TestCodes:
    def test_code_has_128_bits(self) -> None:
        assert len(ALPHABET) ** len(new_code()) >= 2**128

    def test_code_is_made_of_one_draw(self) -> None:
        drawn = Drawn(31**26 - 2)
        assert new_code(drawn) == "Y" + "Z" * 25
        assert drawn.limits == [31**26]

    def test_three_times_as_many_separators_may_be_typed(self) -> None:
        assert normalise_claim_code("AB23CD45" + " " * 24) == "AB23CD45"
        assert normalise_claim_code("AB23CD45" + " " * 25) is None

    def test_code_is_understood_as_people_type_it(self) -> None:
        code = new_code()
        assert normalise_code(f" {code[:9].lower()}-{code[9:]} ") == code
        assert normalise_code(code[1:]) is None

    def test_no_look_alikes(self) -> None:
        assert not set("01OIL") & set(ALPHABET)
        assert set(new_code() + new_claim_code()) <= set(ALPHABET)

    def test_codes_do_not_repeat(self) -> None:
        assert len({new_claim_code() for _ in range(1000)}) == 1000

    def test_every_symbol_may_stand_at_every_place(self) -> None:
        size = len(ALPHABET)
        for value, symbol in enumerate(ALPHABET):
            every_digit = sum(value * size**place for place in range(8))
            drawn = Drawn(every_digit)
            assert new_claim_code(drawn) == symbol * 8
            assert drawn.limits == [size**8]

    @given(st.text(symbols, min_size=8, max_size=8), st.sampled_from(["", " ", "-", "\u3000", "－", "—", "，"]))
    def test_claim_code_is_understood_as_people_type_it(self, code: str, separator: str) -> None:
        full_width = "".join(chr(ord(char) + 0xFEE0) for char in code.lower())
        assert normalise_claim_code(f" {code[:4]}{separator}{code[4:].lower()}\n") == code
        assert normalise_claim_code(f"“{code}，") == code
        assert normalise_claim_code(full_width) == code

    @given(st.text())
    def test_any_text_gives_a_code_or_none(self, typed: str) -> None:
        for normalise, length in ((normalise_claim_code, 8), (normalise_code, 26)):
            code = normalise(typed)
            assert code is None or (len(code) == length and set(code) <= set(ALPHABET))

    @pytest.mark.parametrize("typed", ["", "7K3M9QX", "7K3M9QXVV", "7K3M9QX0", "7K3M9QXO", " " * 10_000])
    def test_what_cannot_be_a_claim_code(self, typed: str) -> None:
        assert normalise_claim_code(typed) is None


class TestSignature:
    def test_canonical_bytes_are_fixed_for_ever(self) -> None:
        content = replace(CONTENT, credited_lessons=CONTENT.credited_lessons[:2])
        assert canonical_bytes(content).decode() == (
            '{"campaign_id":"jinshan-2024","campaign_title":"晋善警美 全民反诈",'
            '"credited_lessons":["2024-06-29","2024-06-30"],"format":"fanzha-certificate-1",'
            '"issued_at":"2024-07-14T12:00:00Z","issuer":"示例市反诈中心","name":"㐱𬭎·示例",'
            '"serial":"2222-2222-2222","viewer_id":"ks_8812"}'
        )

    def test_the_zone_of_the_issue_time_does_not_matter(self) -> None:
        in_beijing = replace(CONTENT, issued_at=CONTENT.issued_at.astimezone(timezone(timedelta(hours=8))))
        assert canonical_bytes(in_beijing) == canonical_bytes(CONTENT)

    def test_every_field_is_signed(self) -> None:
        other = CertificateContent("s", "c", "t", "i", "v", None, (), datetime(2020, 1, 1, tzinfo=UTC))
        signature = KEY.sign(CONTENT)
        for field in fields(CertificateContent):
            changed = replace(CONTENT, **{field.name: getattr(other, field.name)})
            assert verify_document(certificate_document(changed, signature), PUBLIC_KEYS) is Verdict.ALTERED, field.name

    def test_the_longest_fits_into_a_body_for_people_however_it_is_written(self) -> None:
        """`POST /v1/verify` takes no more; a title of 100 and a name of 50 rare characters, escaped, are 12 bytes each."""
        longest = replace(
            CONTENT,
            campaign_id="c" * 64,
            campaign_title="𠅤" * 100,
            issuer="𠅤" * 100,
            viewer_id="v" * 64,
            name="𠅤" * NAME_MAX_CHARS,
            credited_lessons=tuple(date(2024, 1, 1) + timedelta(days=day) for day in range(LESSONS_MAX)),
        )
        written = json.dumps(certificate_document(longest, KEY.sign(longest)), indent=8, ensure_ascii=True)
        assert len(written) < BODY_MAX_BYTES / 2

    def test_genuine_also_after_a_round_trip_in_other_order(self) -> None:
        shuffled = json.dumps(dict(reversed(document().items())), indent=3, ensure_ascii=True)
        assert verify_document(json.loads(shuffled), PUBLIC_KEYS) is Verdict.GENUINE

    def test_another_key_is_unknown(self) -> None:
        assert verify_document(document(), {}) is Verdict.UNKNOWN_KEY

    def test_a_known_key_id_with_another_key_is_altered(self) -> None:
        assert verify_document(document(), {KEY.key_id: SigningKey(bytes(32)).public_key}) is Verdict.ALTERED

    def test_every_leaf_of_the_document_matters(self) -> None:
        for path in leaves(document()):
            changed = document()
            alter(changed, path)
            assert verify_document(changed, PUBLIC_KEYS) is not Verdict.GENUINE, path

    def test_added_and_missing_fields_are_noticed(self) -> None:
        added, missing = document(), document()
        added["content"]["grade"] = "优秀"
        del missing["content"]["credited_lessons"]
        assert verify_document(added, PUBLIC_KEYS) is Verdict.ALTERED
        assert verify_document(missing, PUBLIC_KEYS) is Verdict.ALTERED

    @given(any_json)
    def test_any_json_gets_a_verdict(self, value: object) -> None:
        assert verify_document(value, PUBLIC_KEYS) is not Verdict.GENUINE
        assert verify_document({**document(), "signature": value}, PUBLIC_KEYS) is not Verdict.GENUINE
        assert verify_document({**document(), "content": value}, PUBLIC_KEYS) is not Verdict.GENUINE

    def test_a_bottomless_document_is_altered(self) -> None:
        deep: Any = "x"
        for _ in range(100_000):
            deep = [deep]
        changed = document()
        changed["content"]["name"] = deep
        assert verify_document(changed, PUBLIC_KEYS) is Verdict.ALTERED

    def test_what_we_signed_in_another_format_is_no_certificate(self) -> None:
        other = document()
        other["content"]["format"] = "fanzha-certificate-2"
        text = json.dumps(other["content"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        signed = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(text.encode())
        other["signature"]["value"] = base64.b64encode(signed).decode()
        assert verify_document(other, PUBLIC_KEYS) is Verdict.ALTERED

    def test_a_signature_is_base64_and_nothing_else(self) -> None:
        changed = document()
        changed["signature"]["value"] = "!" + changed["signature"]["value"]
        assert verify_document(changed, PUBLIC_KEYS) is Verdict.ALTERED

    def test_a_key_has_the_id_that_it_always_had(self) -> None:
        assert KEY.key_id == "56475aa75463474c"

    def test_lone_surrogates_are_altered(self) -> None:
        changed = document()
        changed["content"]["name"] = "\ud800"
        assert verify_document(changed, PUBLIC_KEYS) is Verdict.ALTERED

    def test_content_refuses_what_has_no_single_canonical_form(self) -> None:
        with pytest.raises(ValueError, match="aware"):
            replace(CONTENT, issued_at=datetime(2024, 7, 14))
        with pytest.raises(ValueError, match="ascending"):
            replace(CONTENT, credited_lessons=CONTENT.credited_lessons[::-1])
        with pytest.raises(ValueError, match="ascending"):
            replace(CONTENT, credited_lessons=CONTENT.credited_lessons[:1] * 2)


class TestNames:
    @pytest.mark.parametrize(
        ("raw", "name"),
        [
            ("  刘　长亮 ", "刘长亮"),
            ("买买提 • 吐尔逊", "买买提·吐尔逊"),
            ("买买提・吐尔逊", "买买提·吐尔逊"),
            ("买买提‧・ 吐尔逊·", "买买提·吐尔逊"),
            ("㐱𬭎䶮𠅤𫖯𰻝", "㐱𬭎䶮𠅤𫖯𰻝"),
            ("e\u0301lan", "élan"),
            ("①", "①"),  # NFKC would make it 1
            ("刘\u202e亮\u200b\ufeff", "刘亮"),
            ("", None),
            (" ・ \u3000", None),
        ],
    )
    def test_normalised(self, raw: str, name: str | None) -> None:
        assert normalise_name(raw) == name

    @pytest.mark.parametrize(
        ("raw", "name", "masked"),
        [
            ("李　四", "李四", "李*"),
            ("李 四", "李四", "李*"),
            (" 欧　阳　示　例 ", "欧阳示例", "欧阳**"),
            ("买买提 吐尔逊", "买买提 吐尔逊", None),
            ("Li Si", "Li Si", "L* S*"),
        ],
    )
    def test_padding_of_a_short_chinese_name_is_no_part_of_it(self, raw: str, name: str, masked: str | None) -> None:
        assert normalise_name(raw) == name
        assert masked in (None, mask_name(name))

    @pytest.mark.parametrize("raw", ["刘\x00亮", "刘\n亮", "\x7f", "刘\x85", "\ud800", "长" * 51])
    def test_refused_without_repeating_it(self, raw: str) -> None:
        with pytest.raises(NameRefused) as refused:
            normalise_name(raw)
        assert raw not in str(refused.value)

    @given(any_text)
    def test_normalising_twice_changes_nothing(self, raw: str) -> None:
        try:
            name = normalise_name(raw)
        except NameRefused:
            return
        assert name is None or (0 < len(name) <= 50 and normalise_name(name) == name)

    def test_fifty_characters_and_what_joins_letters_are_kept(self) -> None:
        assert normalise_name("王" * 50) == "王" * 50
        assert normalise_name("م\u200cن") == "م\u200cن"
        with pytest.raises(NameRefused):
            normalise_name("王" * 51)


class TestMasks:
    @pytest.mark.parametrize(("name", "masked"), [("买买提·John", "买**·J***"), ("刘··亮", "刘·*")])
    def test_mixed_and_doubled(self, name: str, masked: str) -> None:
        assert mask_name(name) == masked

    @pytest.mark.parametrize(
        ("name", "masked"),
        [
            ("㐱", "*"),
            ("李亮", "李*"),
            ("刘长亮", "刘*亮"),
            ("欧阳修之", "欧阳**"),
            ("欧阳修", "欧阳*"),
            ("欧阳", "欧*"),
            ("刘陈小明", "刘***"),
            ("𠅤𫖯𰻝", "𠅤*𰻝"),
            ("买买提·吐尔逊", "买买提·吐**"),
            ("阿不都·买买提·吐尔逊", "阿不都·买**·***"),
            ("John Smith", "J*** S****"),
            ("Wolfeschlegelsteinhausen", "W****"),
            ("刘J亮", "刘**"),
            ("😀", "*"),
            ("", ""),
        ],
    )
    def test_as_people_expect(self, name: str, masked: str) -> None:
        assert mask_name(name) == masked

    @given(han_names)
    def test_a_chinese_name_shows_at_most_two_characters_and_hides_one(self, name: str) -> None:
        shown = mask_name(name).replace("*", "")
        assert len(shown) <= 2
        assert len(shown) < len(name)

    @given(any_text)
    def test_of_any_text_hides_something_and_invents_nothing(self, name: str) -> None:
        masked = mask_name(name)
        assert masked == "" or "*" in masked
        assert set(masked) <= set(name) | set("* ")

    @given(st.lists(st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=12), min_size=1))
    def test_a_name_in_letters_shows_at_most_one_of_each_word(self, words: list[str]) -> None:
        masked = mask_name(" ".join(words)).split(" ")
        assert [len(word.replace("*", "")) for word in masked] == [int(len(word) > 1) for word in words]

    @given(han_names, han_names, han_names)
    def test_a_dotted_name_hides_all_but_one_character_after_the_first_part(
        self, first: str, second: str, third: str
    ) -> None:
        masked_first, *masked_others = mask_name(f"{first}·{second}·{third}").split("·")
        assert masked_first == first
        assert len("".join(masked_others).replace("*", "")) <= 1

    def test_the_holder_is_the_name_or_the_account(self) -> None:
        assert mask_holder(replace(CONTENT, name="刘长亮")) == "刘*亮"
        assert mask_holder(replace(CONTENT, name=None)) == "k****2"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None:
        yield path
    else:
        for key, child in children:
            yield from leaves(child, (*path, key))


def alter(value: Any, path: tuple[Any, ...]) -> None:
    for key in path[:-1]:
        value = value[key]
    leaf = copy.copy(value[path[-1]])
    value[path[-1]] = ("A" if leaf[0] != "A" else "B") + leaf[1:]


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_a_subscribers_addresses_are_one(address: str, network: str) -> None:
    assert network_of(address) == network
