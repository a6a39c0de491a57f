"""Codes on slips, whom a unit may name, and how much of them reporting keeps. Pure (DESIGN §5.2, FACTS A7)."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal, NamedTuple, get_args

from shared import codes
from shared.codes import DrawBelow
from shared.people.masks import mask_phone
from shared.people.names import NameRefused, mask_name, normalise_name
from shared.people.phones import normalise_phone

Post = Literal["liaison", "deputy", "leader"]
POSTS: Final[tuple[Post, ...]] = get_args(Post)
POST_TITLES: Final[Mapping[Post, str]] = {"liaison": "联络员", "deputy": "副联络员", "leader": "分管领导"}

CODE_LENGTH: Final = 12  # 11 random symbols (54 bits) and the check symbol
DEVICE_VALID_FOR: Final = timedelta(days=180)
DEVICES_PER_UNIT_MAX: Final = 20  # beyond them the device that was bound first is let go: browsers forget cookies
UNITS_PER_DEVICE_MAX: Final = 50  # an office that files for all of a county's departments
WRONG_TRIES_MAX, WRONG_TRIES_WITHIN = 50, timedelta(hours=1)  # of one address


class Contact(NamedTuple):
    """Somebody as notification is told: sealed, never stored here."""

    name: str
    phone: str


class Mask(NamedTuple):
    """Somebody as reporting keeps and shows them: 刘*亮, 138****5678."""

    name: str
    phone: str


Contacts = Mapping[Post, Contact]
Masks = Mapping[Post, Mask]


class ContactUnusable(ValueError):
    """`str(error)` says which one cannot be used and why (zh-Hans), without repeating what was typed."""


def new_code(draw: DrawBelow) -> str:
    """What stands on a slip, such as `7K3M-9QXV-2HDN`."""
    return codes.grouped(codes.with_check_symbol(CODE_LENGTH - 1, draw))


def code_as_kept(typed: str) -> str | None:
    """A code as its hash is made, from what a person types: any case, full-width, with blanks or hyphens. None for a slip of the
    finger: too short, too long, a symbol that no code has, or a check symbol that does not fit."""
    symbols = codes.normalised(typed, CODE_LENGTH)
    return symbols if symbols is not None and codes.valid_check_symbol(symbols) else None


def contact(post: Post, name: str, phone: str) -> Contact:
    """Raises `ContactUnusable`."""
    try:
        kept_name = normalise_name(name)
    except NameRefused as refused:
        raise ContactUnusable(f"{POST_TITLES[post]}：{refused}") from None
    if kept_name is None:
        raise ContactUnusable(f"{POST_TITLES[post]}：姓名里没有看得见的字")
    kept_phone = normalise_phone(phone)
    if kept_phone is None:
        raise ContactUnusable(f"{POST_TITLES[post]}：电话应是 7 到 15 位数字，如 13812345678 或 0350-3021234")
    return Contact(kept_name, kept_phone)


def masked(contacts: Contacts) -> Masks:
    return {post: Mask(mask_name(contact.name), mask_phone(contact.phone)) for post, contact in contacts.items()}


def is_somebody_else(before: Masks | None, after: Masks) -> bool:
    """Whether another person is the liaison now, so that the former one's phones must not report any more. Two people with equal
    masks are taken for one: both characters of the name that show, and seven digits of the phone, would have to be the same."""
    return before is not None and before.get("liaison") != after.get("liaison")
