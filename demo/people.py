"""Who watches: made-up viewers, spread over the province as its people are. Names and phones are artificial on sight."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from demo.campaign import Campaign

Webhook = Literal["standard", "douyin"]  # sources, both platforms of the campaign
Way = Literal[Webhook, "bus", "file"]

ACCOUNT_PREFIXES = {"douyin": "dy_"}  # of the other ways: ks_
PHONE_BASE = 19_900_000_000  # no range of this shape is in use
PHONES_MAX = 99_999
HOME_CITY = "140900"  # the campaign is seen from 忻州: most viewers live there
HOME_SHARE = 0.7

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕欧阳".replace("欧阳", "")
GIVEN = "澄岚砚舟霁禾苒钧沐璟珩筠蔚翊煦琬骁翎朔棠屿笙柠潼晗蓁祺瀚菀鸢"

# Unusual names: rare characters, the middle dot in all its spellings, other scripts, and text that looks like markup.
SPECIAL_NAMES = (
    "李㐱砚",
    "王𬭎澄",
    "龚䶮",
    "买买提·吐尔逊霁",
    "阿依古丽•艾合买提霁",
    "欧阳霁禾",
    "JOHN TESTPERSON",
    "<b>赵霁</b>",
    "#let x = 霁",
    "$霁_1$ \\ 霁",
    "=HYPERLINK(霁)",
    '张"霁"禾',
    "娜仁・托娅霁",
)

HABITS: dict[str, tuple[float, float, float]] = {  # share of viewers, goes live, watches the replay of what was missed
    "faithful": (0.16, 0.988, 0.3),
    "regular": (0.28, 0.72, 0.3),
    "casual": (0.34, 0.3, 0.2),
    "late starter": (0.12, 0.97, 0.3),
    "replay watcher": (0.10, 0.12, 0.7),
}
LATE_START = 3  # the notice went out on day 4 (FACTS A5)


@dataclass(frozen=True, slots=True)
class Viewer:
    id: str
    way: Way
    habit: str
    starts: int
    live: float
    replay: float
    unit_code: str | None
    channel: str | None
    group: str | None
    name: str | None
    phone: str | None


def viewers(campaign: Campaign, count: int, rng: random.Random) -> list[Viewer]:
    if count > PHONES_MAX:
        raise ValueError(f"at most {PHONES_MAX} viewers: so many artificial phone numbers there are")
    places = Places(campaign, rng)
    special = [_special(number, name, places, rng) for number, name in enumerate(SPECIAL_NAMES)]
    return [*special, *(_viewer(number, places, rng) for number in range(len(special), count))][:count]


def _special(number: int, name: str, places: "Places", rng: random.Random) -> Viewer:
    """A viewer who comes every day, so that there is a certificate with this name. One of them sends by file, one by the bus."""
    way: Way = "file" if name.startswith("=") else "bus" if name.startswith("王") else "standard"
    unit, channel = places.draw()
    return Viewer(
        _id(number, way), way, "faithful", 0, 1.0, 0.0, unit, channel, rng.choice(places.groups), name, _phone(number)
    )


def _viewer(number: int, places: "Places", rng: random.Random) -> Viewer:
    habit = rng.choices(list(HABITS), [share for share, _, _ in HABITS.values()])[0]
    _, live, replay = HABITS[habit]
    way: Way = rng.choices(("standard", "douyin", "bus", "file"), (50, 20, 20, 10))[0]
    starts = LATE_START if habit == "late starter" else 0 if rng.random() < 0.8 else rng.randrange(1, 8)
    if habit == "faithful":
        starts = 0
    unit, channel = places.draw()
    group = rng.choice(places.groups) if rng.random() < 0.85 else None
    name = rng.choice(SURNAMES) + rng.choice(GIVEN) + rng.choice(GIVEN) if rng.random() < 0.92 else None
    phone = _phone(number) if rng.random() < 0.86 else None
    if phone and rng.random() < 0.05:
        phone = f"+86 {phone[:3]}-{phone[3:7]}-{phone[7:]}"
    return Viewer(_id(number, way), way, habit, starts, live, replay, unit, channel, group, name, phone)


def _id(number: int, way: Way) -> str:
    return f"{ACCOUNT_PREFIXES.get(way, 'ks_')}{number:06d}"


def _phone(number: int) -> str:
    return str(PHONE_BASE + number)


class Places:
    """Draws where a viewer belongs, weighted by residents: a unit code, a channel code, or neither."""

    def __init__(self, campaign: Campaign, rng: random.Random) -> None:
        self._rng = rng
        self.groups: Sequence[str] = list(campaign.groups)
        cities = [unit for unit in campaign.units.values() if unit.level == "city" and unit.code != HOME_CITY]
        self._cities = [unit.code for unit in cities]
        self._city_weights = [unit.residents or 0 for unit in cities]
        counties = [unit for unit in campaign.units.values() if unit.level == "county" and unit.residents]
        self._counties = [unit.code for unit in counties]
        self._county_weights = [unit.residents or 0 for unit in counties]
        self._members: dict[str, list[str]] = {}
        for unit in campaign.units.values():
            if unit.level == "unit":
                self._members.setdefault(campaign.county(unit.code), []).append(unit.code)
        self._channel_of = {unit: channel for channel, unit in campaign.channels.items()}

    def draw(self) -> tuple[str | None, str | None]:
        """(unit_code, channel) as an enrolment carries them."""
        rng = self._rng
        luck = rng.random()
        if luck < 0.04:
            return None, None
        if luck < 0.045:
            return None, "QR-9999"  # a poster nobody registered
        if luck < 0.05:
            return "159999", None  # a code the tree does not have: kept as sent
        unit = self._unit()
        if rng.random() < 0.35 and unit in self._channel_of:
            return None, self._channel_of[unit]
        return unit, self._channel_of.get(unit) if rng.random() < 0.1 else None

    def _unit(self) -> str:
        rng = self._rng
        if rng.random() > HOME_SHARE:
            return rng.choices(self._cities, self._city_weights)[0]
        if rng.random() < 0.06:
            return rng.choice(self._members[HOME_CITY])
        county = rng.choices(self._counties, self._county_weights)[0]
        return county if rng.random() < 0.35 or county not in self._members else rng.choice(self._members[county])
