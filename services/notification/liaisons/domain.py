"""What a sealed contact of a unit holds. Pure."""

import json
from typing import Final, NamedTuple

from shared.people.masks import mask_phone
from shared.people.names import mask_name

POSTS: Final = ("liaison", "deputy", "leader")
POST_TITLES: Final = {"liaison": "联络员", "deputy": "副联络员", "leader": "分管领导"}


class Person(NamedTuple):
    name: str
    phone: str

    def masked(self) -> "Person":
        return Person(mask_name(self.name), mask_phone(self.phone))


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
