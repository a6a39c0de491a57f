"""What a sealed contact of a unit holds. Pure."""

import json
from typing import Final, NamedTuple

POSTS: Final = ("liaison", "deputy", "leader")


class Person(NamedTuple):
    name: str
    phone: str


class Unreadable(ValueError):
    """A decrypted contact is not what its contract promises. The error's text does not repeat it."""


def people_in(contacts: bytes) -> dict[str, Person]:
    """The people of a unit by post, those of newer versions left out. Raises `Unreadable`."""
    try:
        told = json.loads(contacts)
        people = {post: Person(told[post]["name"], told[post]["phone"]) for post in POSTS if told.get(post) is not None}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Unreadable("a unit's contacts are not the JSON that their contract promises") from None
    if not all(isinstance(text, str) for person in people.values() for text in person):
        raise Unreadable("a unit's contacts hold a name or phone that is no text")
    return people
