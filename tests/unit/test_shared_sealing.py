import base64

import pytest
from nacl.public import PrivateKey

from shared.people.sealing import CannotOpen, seal, unseal

KEYS = {name: PrivateKey.generate() for name in ("certificate", "notification")}
PUBLIC = {name: base64.b64encode(bytes(key.public_key)).decode() for name, key in KEYS.items()}
PRIVATE = {name: base64.b64encode(bytes(key)).decode() for name, key in KEYS.items()}
SECRETS = ["𠮷田 13900000001".encode(), None, b""]
VIEWERS = ["a", "b", "c"]


@pytest.mark.parametrize("recipient", sorted(KEYS))
def test_each_recipient_opens_what_was_sealed(recipient: str) -> None:
    column = seal(PUBLIC, SECRETS, VIEWERS)
    assert unseal(column, recipient, PRIVATE[recipient], VIEWERS) == SECRETS


def test_nothing_of_a_secret_shows() -> None:
    assert "13900000001" not in seal(PUBLIC, SECRETS, VIEWERS).model_dump_json()


def test_equal_secrets_look_different() -> None:
    first, second = seal(PUBLIC, [b"x", b"x"], ["a", "b"]).boxes
    assert first != second
    assert seal(PUBLIC, [b"x"], ["a"]).keys != seal(PUBLIC, [b"x"], ["a"]).keys


def test_nobody_else_opens_it() -> None:
    column = seal({"certificate": PUBLIC["certificate"]}, SECRETS, VIEWERS)
    with pytest.raises(CannotOpen, match="not sealed for notification"):
        unseal(column, "notification", PRIVATE["notification"], VIEWERS)
    with pytest.raises(CannotOpen, match="key of certificate"):
        unseal(column, "certificate", PRIVATE["notification"], VIEWERS)


def test_a_box_opens_only_in_its_own_row() -> None:
    column = seal(PUBLIC, [b"of a", b"of b"], ["a", "b"])
    swapped = column.model_copy(update={"boxes": column.boxes[::-1]})
    with pytest.raises(CannotOpen):
        unseal(swapped, "certificate", PRIVATE["certificate"], ["a", "b"])


@pytest.mark.parametrize("box", ["", "AAAA", "not base64!", "é"])
def test_an_altered_box_cannot_be_opened(box: str) -> None:
    column = seal(PUBLIC, [b"x"], ["a"]).model_copy(update={"boxes": [box]})
    with pytest.raises(CannotOpen):
        unseal(column, "certificate", PRIVATE["certificate"], ["a"])


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!"])
def test_an_altered_key_cannot_be_opened(key: str) -> None:
    column = seal(PUBLIC, [b"x"], ["a"]).model_copy(update={"keys": {"certificate": key}})
    with pytest.raises(CannotOpen):
        unseal(column, "certificate", PRIVATE["certificate"], ["a"])
