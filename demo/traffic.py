"""What the live platform sends in sixteen days, seeded: the same seed is the same traffic, byte for byte."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from demo import oddities
from demo.campaign import Campaign, Window
from demo.deliveries import BusMessage, Export, Item, MakeGood, Post, Step, body_of, item_of
from demo.people import Viewer, Way, Webhook, viewers

EARLY, CLOSE, NIGHT, NOON = "early", "close", "night", "noon"
MOMENTS = {EARLY: "19:45", CLOSE: "20:05", NIGHT: "22:30", NOON: "12:00"}  # noon is the day after the lesson

RECOVERED_LESSON = (
    6  # the feed of the first platform breaks off, the other goes on, and an export fills the gap the next day
)
RECOVERED_FROM = timedelta(minutes=10)
LATE_LESSON = 9  # this lesson's feed breaks off, and the export comes after sealing
LATE_FROM = timedelta(minutes=18)
LATE_IMPORT_LESSON = 14  # at the noon after this lesson
UNRECORDED_LESSON = 12  # a share of this lesson's events is lost for good
UNRECORDED_SHARE = 0.03
ODD_ITEMS_A_DAY = 6

BATCH_ITEMS = (40, 500)
BUS_ITEMS = (20, 250)
SINGLE_SHARE = 0.04
PLATFORMS: tuple[Webhook, ...] = ("standard", "douyin")
MISTAKEN_SHARE = 0.05  # share of replay check-ins that a platform sends although it does not broadcast replays


class Traffic:
    """`steps()` can be walked once."""

    def __init__(self, campaign: Campaign, viewer_count: int, seed: int) -> None:
        self.campaign = campaign
        self._rng = random.Random(seed)  # noqa: S311 - not for secrets
        self.viewers = viewers(campaign, viewer_count, self._rng)
        self._ids = 0
        self._mail: dict[str, list[tuple[Way, Item]]] = defaultdict(list)  # by step
        self._lost_late: list[Viewer] = []
        self._lost_for_good: list[Viewer] = []
        self._outage: dict[int, list[Item]] = defaultdict(list)  # the platform's own records, by lesson
        self._faults_sent = 0

    def steps(self) -> Iterator[Step]:
        days = self.campaign.days
        self._enrol_everybody()
        yield self._step("opening", self.campaign.at(days[0], "19:00"), "the first evening, 19:00")
        for lesson, day in enumerate(days):
            self._play_lesson(lesson)
            for moment, clock in MOMENTS.items():
                on = day + timedelta(days=moment == NOON)
                title = f"lesson {lesson + 1:2}  {on:%m-%d} {clock}"
                step = self._step(f"{lesson}.{moment}", self.campaign.at(on, clock), title)
                step.claims = lesson == len(days) - 1 and moment in (NIGHT, NOON)
                yield step
                yield from self._exports(lesson, moment, step.at)
        yield from self._aftermath()

    # ---- enrolments --------------------------------------------------------------------------------------------------

    def _enrol_everybody(self) -> None:
        for viewer in self.viewers:
            noons = len(self.campaign.days)
            special = viewer.live == 1.0
            luck = 0.5 if special else self._rng.random()
            if luck < 0.07:
                continue  # never says who they are
            first = -1 if viewer.starts == 0 else viewer.starts - 1
            if luck < 0.13:
                first = min(first + self._rng.randrange(2, 5), noons - 1)  # after the first check-ins
            first = self._enrol(
                viewer, first, viewer.unit_code, viewer.channel, viewer.group, viewer.name, viewer.phone
            )
            if special:
                continue
            if luck > 0.94:
                self._enrol_again(viewer, first)
            elif luck > 0.92:
                self._enrol_out_of_order(viewer, first)

    def _enrol_again(self, viewer: Viewer, first: int) -> None:
        """Adds enrolments that change unit and group, often after check-ins; some do not repeat name or phone."""
        rng = self._rng
        noon, like = first + rng.randrange(1, 9), rng.choice(self.viewers)
        name = viewer.name if rng.random() < 0.5 else None
        phone = viewer.phone if rng.random() < 0.5 else None
        if noon < len(self.campaign.days):
            self._enrol(viewer, noon, like.unit_code, like.channel, like.group, name, phone)

    def _enrol_out_of_order(self, viewer: Viewer, first: int) -> None:
        """Adds an older enrolment that arrives after the known one, and must change nothing."""
        noon = first + self._rng.randrange(1, 6)
        if noon < len(self.campaign.days):
            self._enrol(viewer, noon, "140900", None, "general", None, None, age=timedelta(days=30))

    def _enrol(
        self,
        viewer: Viewer,
        noon: int,
        unit_code: str | None,
        channel: str | None,
        group: str | None,
        name: str | None,
        phone: str | None,
        age: timedelta = timedelta(0),
    ) -> int:
        """Delivers an enrolment at the noon after lesson `noon` (-1: at the opening). Returns the noon at which it arrives,
        which may be another one."""
        rng = self._rng
        noon = min(noon, len(self.campaign.days) - 1)
        if viewer.way == "file":
            noon = max(noon, 0) | 1  # with the next export file
        at = self._at(noon) - age - timedelta(seconds=rng.randrange(60, 5400))
        event = self._event("viewer.enrolled", viewer, at, unit_code=unit_code, channel=channel, group=group)
        event |= {key: value for key, value in (("name", name), ("phone", phone)) if value}
        key = "opening" if noon < 0 else f"{noon}.{NOON}"
        way: Way = "standard" if viewer.way == "bus" else viewer.way  # the bus carries no contact data
        self._send(key, way, event)
        if rng.random() < 0.03:
            self._send(key, way, event)
        return noon

    def _at(self, noon: int) -> datetime:
        days = self.campaign.days
        if noon < 0:
            return self.campaign.at(days[0], "19:00")
        return self.campaign.at(days[noon] + timedelta(days=1), MOMENTS[NOON])

    # ---- an evening and the next day ---------------------------------------------------------------------------------

    def _play_lesson(self, lesson: int) -> None:
        windows = [window for window in self.campaign.windows if window.lesson == lesson]
        live = next(window for window in windows if window.mode == "live")
        replays = [window for window in windows if window.mode == "replay"]
        rng = self._rng
        for viewer in self.viewers:
            if lesson < viewer.starts:
                continue
            watches = rng.random() < viewer.live
            if watches:
                self._check_in_live(lesson, viewer, live)
            if rng.random() < (viewer.replay if not watches else 0.06):
                self._check_in_replay(lesson, viewer, rng.choice(replays))
        self._stray(lesson, live)

    def _check_in_live(self, lesson: int, viewer: Viewer, live: Window) -> None:
        """Adds live check-ins along the evening curve: most come in the first minutes."""
        rng = self._rng
        after = timedelta(seconds=int(rng.betavariate(1.3, 4.0) * (live.closes - live.opens).total_seconds()))
        at = live.opens + after
        event = self._event("viewer.checked_in", viewer, at)
        if viewer.way == "standard" and self._falls_into_gap(lesson, viewer, event, after):
            return
        key = self._live_delivery(lesson, at)
        self._send(key, viewer.way, event)
        luck = rng.random()
        if luck < 0.03:
            self._send(key, viewer.way, event)  # the platform repeats itself
        elif luck < 0.04:
            self._send(f"{lesson}.{NIGHT}", viewer.way, event)
        elif luck < 0.05:
            again = self._event("viewer.checked_in", viewer, at + timedelta(seconds=20))
            if live.opens <= at + timedelta(seconds=20) < live.closes:
                self._send(f"{lesson}.{CLOSE}", viewer.way, again)  # a second tap
        if viewer.way != "file" and key.endswith((EARLY, CLOSE)):
            self._act(lesson, viewer, at, key)

    def _live_delivery(self, lesson: int, at: datetime) -> str:
        """The step in which a check-in is delivered: seconds late, minutes late, or the next morning."""
        luck = self._rng.random()
        if at < self._moment(lesson, EARLY) and luck < 0.93:
            return f"{lesson}.{EARLY}"
        if luck < 0.985:
            return f"{lesson}.{CLOSE}"
        return f"{lesson}.{NIGHT if luck < 0.995 else NOON}"

    def _moment(self, lesson: int, moment: str) -> datetime:
        day = self.campaign.days[lesson] + timedelta(days=moment == NOON)
        return self.campaign.at(day, MOMENTS[moment])

    def _falls_into_gap(self, lesson: int, viewer: Viewer, event: dict[str, Any], after: timedelta) -> bool:
        if lesson == RECOVERED_LESSON:
            self._outage[lesson].append(item_of(event))  # the export has the whole evening
            return after >= RECOVERED_FROM
        if lesson == LATE_LESSON and after >= LATE_FROM:
            self._outage[lesson].append(item_of(event))
            self._lost_late.append(viewer)
            return True
        if lesson == UNRECORDED_LESSON and viewer.live < 1.0 and self._rng.random() < UNRECORDED_SHARE:
            self._lost_for_good.append(viewer)
            return True
        return False

    def _check_in_replay(self, lesson: int, viewer: Viewer, window: Window) -> None:
        if not self.campaign.can_send(viewer.way, window) and self._rng.random() >= MISTAKEN_SHARE:
            return
        seconds = int((window.closes - window.opens).total_seconds())
        at = window.opens + timedelta(seconds=self._rng.randrange(seconds))
        event = self._event("viewer.checked_in", viewer, at)
        if at < self._moment(lesson, NIGHT) and viewer.way != "file":
            key = f"{lesson}.{NIGHT}"
        elif at < self._moment(lesson, NOON):
            key = f"{lesson}.{NOON}"
        else:
            key = f"{lesson + 1}.{EARLY}" if lesson + 1 < len(self.campaign.days) else "aftermath"
        self._send(key, viewer.way, event)
        if self._rng.random() < 0.02:
            self._send(key, viewer.way, event)

    def _act(self, lesson: int, viewer: Viewer, at: datetime, key: str) -> None:
        rng = self._rng
        if rng.random() < 0.15:
            self._send(key, viewer.way, self._event("quiz.answered", viewer, at, quiz=f"第{lesson + 1}课"))
        if rng.random() < 0.01:
            prize = rng.choice(("警察小熊", "保温杯", "钥匙扣", "小红旗"))
            self._send(key, viewer.way, self._event("prize.won", viewer, at, prize=prize))
        if lesson == viewer.starts and rng.random() < 0.4:
            account = rng.choice(("国家反诈中心", "晋善警美"))
            event = self._event("account.followed", viewer, at, account=account)
            self._send(key, viewer.way, event)
            if rng.random() < 0.1:
                self._send(key, viewer.way, event)

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def _stray(self, lesson: int, live: Window) -> None:
        """Adds events outside every window, from a clock ahead of ours, of unknown kind, and malformed ones among good ones."""
        rng = self._rng
        few = max(2, len(self.viewers) // 400)
        for viewer in rng.sample(self.viewers, min(few, len(self.viewers))):
            way: Way = "standard" if viewer.way == "file" else viewer.way
            early = self._event("viewer.checked_in", viewer, live.opens - timedelta(minutes=rng.randrange(1, 25)))
            self._send(f"{lesson}.{EARLY}", way, early)
            if rng.random() < 0.3:
                self._send(f"{lesson}.{CLOSE}", way, early)
            ahead = self._event("viewer.checked_in", viewer, self._moment(lesson, EARLY) + timedelta(seconds=300))
            self._send(f"{lesson}.{EARLY}", way, ahead)  # refused now, right when it is sent again
            self._send(f"{lesson}.{CLOSE}", way, ahead)
        viewer = rng.choice(self.viewers)
        at = live.opens + timedelta(minutes=3)
        good = self._event("viewer.checked_in", viewer, at)
        way = "standard" if viewer.way == "file" else viewer.way  # one of them counts, under the viewer's own platform
        for odd in rng.sample(oddities.items(good), ODD_ITEMS_A_DAY):
            self._mail[f"{lesson}.{CLOSE}"].append((way, odd))

    def _faulty_posts(self, key: str) -> list[Post]:
        """Two posts, early and at the close of every evening: one with a wrong signature, one that is broken in another way."""
        lesson, _, moment = key.partition(".")
        if moment not in (EARLY, CLOSE):
            return []
        at = self.campaign.at(self.campaign.days[int(lesson)], "19:33")
        ghosts = [item_of(self._event("viewer.checked_in", viewer, at)) for viewer in self._rng.sample(self.viewers, 3)]
        self._faults_sent += 1
        return oddities.posts(ghosts, self._faults_sent)

    def _poison(self, key: str) -> list[BusMessage]:
        """A message that is no JSON, which must be parked and not retried."""
        if key not in (f"3.{CLOSE}", f"8.{CLOSE}"):
            return []
        return [BusMessage([], b'[{"event_id": "cut off in lesson ' + key.encode())]

    # ---- files and decisions -----------------------------------------------------------------------------------------

    def _exports(self, lesson: int, moment: str, at: datetime) -> Iterator[Step]:
        """Partners send a file every second day; the platform's own exports fill the gaps."""
        if moment != NOON:
            return
        if lesson % 2 == 1:
            yield self._import(at, f"partners-{lesson + 1:02}", self._partner_rows(lesson))
        if lesson == RECOVERED_LESSON and (gap := self._outage.pop(RECOVERED_LESSON, [])):
            step = self._import(at, "platform-gap", gap, with_ids=False)
            step.exports[0].by_command = True
            step.exports[0].source = "standard"  # the platform's own file counts as what it sends
            yield step
        if lesson == LATE_IMPORT_LESSON and (late := self._outage.pop(LATE_LESSON, [])):  # empty with few viewers
            yield self._import(at, "platform-late", late, with_ids=False)

    def _import(self, at: datetime, name: str, rows: list[Item], *, with_ids: bool = True) -> Step:
        return Step(at, f"import {name}", exports=[Export(name, rows, with_ids)])

    def _partner_rows(self, lesson: int) -> list[Item]:
        rows = [item for before in range(lesson + 1) for item in self._files(before)]
        at = self._moment(lesson, NOON) - timedelta(hours=1)
        wrong = self._event("viewer.checked_in", self._rng.choice(self.viewers), at)
        return [
            *rows,
            item_of(wrong | {"occurred_at": "昨天晚上"}),
            item_of(wrong | {"event_id": f"odd-{self._ids}", "viewer_id": "账号"}),
        ]

    def _files(self, lesson: int) -> list[Item]:
        """Removes from the mail, and returns, the events of partners' viewers up to that noon."""
        return [item for moment in MOMENTS for item in self._take(f"{lesson}.{moment}", "file")]

    def _aftermath(self) -> Iterator[Step]:
        days = self.campaign.days
        decisions = self._step("aftermath", self.campaign.at(days[-1] + timedelta(days=2), "10:00"), "decisions, 07-16")
        late_day, lost_day = days[LATE_LESSON], days[UNRECORDED_LESSON]
        beside = [days[UNRECORDED_LESSON - 1], days[UNRECORDED_LESSON + 1]]
        decisions.make_goods = [
            MakeGood("mg-late", late_day, _ids(self._lost_late), [], "平台推送中断，导出文件逾期"),
            MakeGood("mg-lost", lost_day, _ids(self._lost_for_good), beside, "平台推送丢失"),
        ]
        decisions.claims = True
        yield decisions
        leftover = self._import(decisions.at, "partners-last", self._take("aftermath", "file"))
        if leftover.exports[0].rows:
            yield leftover
        sealed = self.campaign.at(days[-1] + timedelta(days=3), "20:00")
        yield self._import(sealed, "after-sealing", self._after_sealing())
        final = self._step("final", self.campaign.at(days[-1] + timedelta(days=8), "09:00"), "the last morning, 07-22")
        final.claims = True
        yield final

    def _after_sealing(self) -> list[Item]:
        """Check-ins of the last lesson that come too late, so they are stored and not credited. Some repeat check-ins that are
        known; these stay as they are."""
        live = next(window for window in self.campaign.windows if window.lesson == len(self.campaign.days) - 1)
        chosen = self._rng.sample(self.viewers, min(len(self.viewers), max(10, len(self.viewers) // 100)))
        return [
            item_of(self._event("viewer.checked_in", viewer, live.opens + timedelta(minutes=7))) for viewer in chosen
        ]

    # ---- putting together --------------------------------------------------------------------------------------------

    def _step(self, key: str, at: datetime, title: str) -> Step:
        posts = [post for source in PLATFORMS for post in self._posts(self._take(key, source), source)]
        posts += self._faulty_posts(key)
        bus = [*self._bus_messages(self._take(key, "bus")), *self._poison(key)]
        self._rng.shuffle(posts)
        return Step(at, title, posts, bus)

    def _take(self, key: str, way: Way) -> list[Item]:
        mail = self._mail[key]
        self._mail[key] = [entry for entry in mail if entry[0] != way]
        return [item for sent_by, item in mail if sent_by == way]

    def _posts(self, items: list[Item], source: Webhook) -> list[Post]:
        rng = self._rng
        rng.shuffle(items)
        singles = int(len(items) * SINGLE_SHARE)
        posts = [Post([item], item.raw, source=source) for item in items[:singles] if isinstance(item.value, dict)]
        batched = [item for item in items[:singles] if not isinstance(item.value, dict)] + items[singles:]
        posts += [Post(chunk, body_of(chunk), source=source) for chunk in _chunks(batched, BATCH_ITEMS, rng)]
        return posts

    def _bus_messages(self, items: list[Item]) -> list[BusMessage]:
        self._rng.shuffle(items)
        return [BusMessage(chunk, body_of(chunk)) for chunk in _chunks(items, BUS_ITEMS, self._rng)]

    def _send(self, key: str, way: Way, event: dict[str, Any]) -> None:
        self._mail[key].append((way, item_of(event)))

    def _event(self, kind: str, viewer: Viewer, at: datetime, **fields: str | None) -> dict[str, Any]:
        self._ids += 1
        event = {
            "event_id": f"e-{self._ids}",
            "type": kind,
            "campaign_id": self.campaign.id,
            "viewer_id": viewer.id,
            "occurred_at": at.astimezone(self.campaign.zone).isoformat(),
        }
        return event | {key: value for key, value in fields.items() if value is not None}


def _chunks(items: list[Item], size: tuple[int, int], rng: random.Random) -> Iterator[list[Item]]:
    start = 0
    while start < len(items):
        count = rng.randint(*size)
        yield items[start : start + count]
        start += count


def _ids(viewers: list[Viewer]) -> list[str]:
    return sorted({viewer.id for viewer in viewers})
