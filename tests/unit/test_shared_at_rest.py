import base64

import pytest
from cryptography.exceptions import InvalidTag

from shared.people.at_rest import Vault, lookup_hash

OLD, NEW = (base64.b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))
ROW = "jinshan-2024/ks_1"


def test_what_was_encrypted_is_read_again() -> None:
    vault = Vault({"k1": OLD})
    assert vault.decrypt(vault.encrypt("𠮷田", ROW), ROW) == "𠮷田"


def test_the_last_key_encrypts_and_older_ones_still_decrypt() -> None:
    value = Vault({"k1": OLD}).encrypt("name", ROW)
    rotated = Vault({"k1": OLD, "k2": NEW})
    assert rotated.decrypt(value, ROW) == "name"
    assert rotated.encrypt("name", ROW).startswith(b"k2:")


def test_a_destroyed_key_takes_its_values_with_it() -> None:
    value = Vault({"k1": OLD}).encrypt("name", ROW)
    with pytest.raises(KeyError):
        Vault({"k2": NEW}).decrypt(value, ROW)


def test_a_value_belongs_to_its_row() -> None:
    vault = Vault({"k1": OLD})
    with pytest.raises(InvalidTag):
        vault.decrypt(vault.encrypt("name", ROW), "jinshan-2024/ks_2")


def test_equal_texts_look_different_at_rest() -> None:
    vault = Vault({"k1": OLD})
    assert vault.encrypt("name", ROW) != vault.encrypt("name", ROW)


def test_a_vault_needs_a_key() -> None:
    with pytest.raises(ValueError, match="CONTACT_KEYS"):
        Vault({})


def test_the_lookup_hash_finds_equal_texts_of_one_service_only() -> None:
    assert lookup_hash(OLD, "13900000001") == lookup_hash(OLD, "13900000001")
    assert lookup_hash(OLD, "13900000001") != lookup_hash(NEW, "13900000001")
    assert lookup_hash(OLD, "13900000001") != lookup_hash(OLD, "13900000002")
