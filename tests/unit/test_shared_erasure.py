"""What an erased account's events are called leads nobody back who has not the key, which is kept nowhere."""

import re

from shared.contracts.base import ID_PATTERN
from shared.people.erasure import event_name, new_name


def test_an_event_gets_another_name_with_another_key_and_it_is_an_id() -> None:
    name, other = new_name(), new_name()
    renamed = event_name(name, "e" * 64)
    assert re.fullmatch(ID_PATTERN, renamed)
    assert renamed == event_name(name, "e" * 64)
    assert renamed != event_name(name._replace(key=other.key), "e" * 64)
