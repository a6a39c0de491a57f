import base64

import pytest
from nacl.public import PrivateKey

from shared.people.at_rest import Vault
from shared.people.campaign_keys import CampaignKeys, seal
from shared.people.sealing import CannotOpen, is_sealed_for

CONTACT_KEYS = {"k1": base64.b64encode(b"1" * 32).decode()}
SECRETS, VIEWERS = [b"13900000001", None], ["a", "b"]


def pair(byte: int) -> tuple[str, str]:
    """(private, public)"""
    key = PrivateKey(bytes([byte]) * 32)
    return base64.b64encode(bytes(key)).decode(), base64.b64encode(bytes(key.public_key)).decode()


DEPLOYMENT, CAMPAIGN, STRANGE = pair(1), pair(2), pair(3)
OWN = bytes([2]) * 32


def keys(campaign_key: bytes | None = OWN, *, gone: bool = False) -> CampaignKeys:
    return CampaignKeys("certificate", DEPLOYMENT[0], CONTACT_KEYS, campaign_key, gone)


def test_whose_key_has_not_arrived_is_sealed_to_by_the_deployments() -> None:
    column = seal(
        {"certificate": DEPLOYMENT[1], "notification": STRANGE[1]}, {"certificate": CAMPAIGN[1]}, SECRETS, VIEWERS
    )
    assert column is not None
    assert is_sealed_for(column, "certificate", CAMPAIGN[0])
    assert not is_sealed_for(column, "certificate", DEPLOYMENT[0])
    assert is_sealed_for(column, "notification", STRANGE[0])


def test_whose_key_is_destroyed_is_sealed_to_no_more() -> None:
    deployment = {"certificate": DEPLOYMENT[1], "notification": STRANGE[1]}
    column = seal(deployment, {"certificate": None}, SECRETS, VIEWERS)
    assert column is not None
    assert column.keys.keys() == {"notification"}
    assert seal(deployment, {"certificate": None, "notification": None}, SECRETS, VIEWERS) is None


@pytest.mark.parametrize("known", [{}, {"certificate": CAMPAIGN[1]}], ids=["before the key arrived", "after"])
def test_a_recipient_opens_both(known: dict[str, str | None]) -> None:
    column = seal({"certificate": DEPLOYMENT[1]}, known, SECRETS, VIEWERS)
    assert keys().open(column, VIEWERS) == SECRETS


def test_what_was_sealed_for_others_is_refused() -> None:
    for known in ({"certificate": STRANGE[1]}, {"certificate": None}):
        column = seal({"certificate": DEPLOYMENT[1], "notification": STRANGE[1]}, known, SECRETS, VIEWERS)
        with pytest.raises(CannotOpen):
            keys().open(column, VIEWERS)


def test_once_destroyed_nothing_is_opened_whatever_it_was_sealed_to() -> None:
    for known in ({}, {"certificate": CAMPAIGN[1]}):
        column = seal({"certificate": DEPLOYMENT[1]}, known, SECRETS, VIEWERS)
        assert keys(None, gone=True).open(column, VIEWERS) == [None, None]


def test_at_rest_the_deployments_keys_read_what_was_there_before_and_nothing_else() -> None:
    before, now = Vault(CONTACT_KEYS).encrypt("name", "row"), keys().vault.encrypt("name", "row")
    assert (keys().decrypt(before, "row"), keys().decrypt(now, "row")) == ("name", "name")
    with pytest.raises(KeyError):
        Vault(CONTACT_KEYS).decrypt(now, "row")
    destroyed = keys(None, gone=True)
    assert (destroyed.decrypt(before, "row"), destroyed.decrypt(now, "row"), destroyed.decrypt(None, "row")) == (
        "name",
        None,
        None,
    )


def test_a_missing_key_of_the_deployment_is_no_destroyed_one() -> None:
    """A missing key must raise an error, because data is still there once the key is put back."""
    value = Vault({"k0": base64.b64encode(b"0" * 32).decode()}).encrypt("name", "row")
    with pytest.raises(KeyError):
        keys(None, gone=True).decrypt(value, "row")


def test_each_campaign_looks_up_under_a_key_of_its_own() -> None:
    assert keys().lookup_key == keys().lookup_key
    assert keys().lookup_key != keys(bytes([3]) * 32).lookup_key
    assert base64.b64decode(keys().lookup_key) != OWN
