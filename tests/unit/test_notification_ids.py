"""The id of a notification is for ever: with another one, every text that was sent would be a new message and go out again."""

import pytest

from services.notification.plans.domain import Key
from tests.support.notification import new_secrets


@pytest.mark.parametrize(
    ("key", "notification_id"),
    [
        (
            Key("jinshan-2024", "certificate_ready", "7K3M-9QXV-2HD4", "ks_8812345"),
            "4aed077d-06d2-e22e-f26d-7c15b2adbc4a",
        ),
        (Key("small-2024", "certificate_ready", "AAAA-AAAA-AAA1", "学员_1"), "31dd7033-824a-728f-d21e-9849e361380b"),
    ],
)
def test_the_id_of_a_key_stays_what_it_was(key: Key, notification_id: str) -> None:
    assert str(new_secrets().notification_id(key)) == notification_id
