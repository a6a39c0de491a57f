"""What units report: most of them on time, some late, some never; and what the office decides about it. Every state and rate is
computed here from the campaign file, in the slow and obvious way."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from demo.campaign import Campaign, Form, Unit
from demo.comparison import Check
from demo.player import Player, run_concurrently

AT_ONCE = 8
ON_TIME, LATE = 7, 9  # of ten reports seven are on time and two are late; one never comes
SAMPLE = 20
PAGE = 500
OFFICE_NAME = "演示值班员"


@dataclass
class Owed:
    """One report that a unit owes. `arrives`: on time, late or never; `sent_at` is when the first that stands was sent."""

    form: Form
    period: str
    unit: str
    opens_at: datetime
    due_at: datetime
    arrives: str
    values: dict[str, Any]
    version: int = 0
    sent_at: datetime | None = None
    returned: bool = False
    excused: bool = False
    number: str = ""

    def state(self, now: datetime) -> str:
        if self.excused:
            return "excused"
        if self.returned:
            return "returned"
        if self.sent_at is not None:
            return "on_time" if self.sent_at <= self.due_at else "late"
        return "missing" if now > self.due_at else "due"

    @property
    def path(self) -> str:
        return f"units/{self.unit}/reports/{self.form.id}/{self.period}"


class Doors(NamedTuple):
    """How to get in: an invitation to the office's pages, and the slip of a unit."""

    office: str  # address
    invitation: str
    liaison_page: str
    liaison_code: str
    unit_name: str


class Reports:
    """`send` at every step, `decide` once, `check` at the end. Of all units that owe reports, `units_max` send some."""

    def __init__(self, player: Player, campaign: Campaign, seed: int, *, units_max: int) -> None:
        self._player = player
        self._campaign = campaign
        self._seed = seed
        self._path = f"/v1/campaigns/{campaign.id}"
        reporters = set(list(campaign.units)[:: max(1, len(campaign.units) // max(1, units_max))])
        self._owed = [
            owed
            for form in campaign.forms
            for unit in campaign.units.values()
            if unit.kind in form.kinds
            for owed in self._of_unit(form, unit, reports=unit.code in reporters)
        ]

    def _of_unit(self, form: Form, unit: Unit, *, reports: bool) -> list[Owed]:
        campaign, owed = self._campaign, []
        defined_at = campaign.at(campaign.days[0], "19:00")
        for day in campaign.days if form.by is None else [form.by]:
            begins_on = day if form.by is None else campaign.days[0]
            if unit.joins_on and unit.joins_on > begins_on:
                continue
            opens_at = defined_at if form.by else campaign.at(day, "19:30")
            due_on = campaign.working_day(day if form.same_day else day + timedelta(days=1))
            period = "once" if form.by else day.isoformat()
            chance = self._number(form.id, period, unit.code, 10)
            arrives = (
                "never" if not reports else "on time" if chance < ON_TIME else "late" if chance < LATE else "never"
            )
            values = self._values(form, unit.code, period)
            owed.append(
                Owed(form, period, unit.code, opens_at, campaign.at(due_on, campaign.closing_time), arrives, values)
            )
        return owed

    def _values(self, form: Form, unit: str, period: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field in form.fields:
            match field["type"]:
                case "integer":
                    values[field["id"]] = self._number(field["id"], period, unit, 40)
                case "date":
                    values[field["id"]] = self._campaign.days[0].isoformat()
                case "text":
                    values[field["id"]] = "组织收看，秩序良好。"
        for check in form.checks:
            if "sum_of" in check:
                values[check["equals"]] = sum(values[part] for part in check["sum_of"])
        return values

    def _number(self, *what: object) -> int:
        *named, below = what
        digest = hashlib.sha256(f"{self._seed} {named}".encode()).digest()
        return int.from_bytes(digest[:8]) % int(str(below))

    # ---- what people do ----------------------------------------------------------------------------------------------

    async def send(self, now: datetime) -> None:
        """Sends what is to be sent at `now`: what comes on time once its period has opened, what is late once it was due."""

        def is_its_time(owed: Owed) -> bool:
            if owed.version or owed.opens_at > now:
                return False
            on_time = now <= owed.due_at
            return owed.arrives == "on time" if on_time else owed.arrives in ("late", "on time")

        await run_concurrently(
            [owed for owed in self._owed if is_its_time(owed)], lambda owed: self._send(owed, now), AT_ONCE
        )

    async def _send(self, owed: Owed, now: datetime, **more: Any) -> None:
        name = f"{self._seed} {owed.path} {owed.version + 1}"
        body = {
            "submission_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),  # the same when an answer was lost
            "based_on_version": owed.version or None,
            "values": owed.values,
        }
        receipt = await self._player.ask("POST", "reporting", f"{self._path}/{owed.path}", json=body | more)
        owed.version += 1
        owed.sent_at = owed.sent_at or now
        owed.returned = False
        owed.number = receipt["number"]

    async def decide(self, now: datetime) -> None:
        """The office excuses two that never came, and returns two that came: one as empty, the other is corrected."""
        never = [owed for owed in self._owed if owed.state(now) == "missing"]
        came = [owed for owed in self._owed if owed.state(now) == "on_time" and owed.form.by is None]
        for owed in never[:2]:
            await self._decide(owed, "excuse", reason="单位放假")
            owed.excused = True
        due_at = (now + timedelta(days=1)).isoformat()
        for owed, empty in zip(came[:2], (True, False), strict=False):
            await self._decide(owed, "return", reason="请核对", due_at=due_at, empty=empty)
            owed.returned = True
            owed.sent_at = None if empty else owed.sent_at
        for owed in came[1:2]:
            await self._send(owed, now, reason="电话核实")

    async def _decide(self, owed: Owed, what: str, **body: Any) -> None:
        answer = await self._player.fetch("POST", "reporting", f"{self._path}/{owed.path}/{what}", json=body)
        done_before = answer.status_code == 409 and answer.json()["type"] == "/problems/nothing-reported"
        if answer.status_code != 200 and not done_before:  # its first answer was lost
            raise AssertionError(f"{what} {owed.path}: {answer.status_code} {answer.text[:300]}")

    async def doors(self, now: datetime) -> Doors:
        """Opens the pages of the office and of a unit that still owes something, for whoever wants to look."""
        unit = next(owed.unit for owed in self._owed if owed.state(now) == "missing")
        slips = await self._player.ask("POST", "reporting", f"{self._path}/slips", json={"units": [unit]})
        invited = {"name": OFFICE_NAME, "role": "office"}
        invitation = await self._player.ask("POST", "reporting", f"{self._path}/people", json=invited)
        [slip] = slips["rows"]
        office = self._player.addresses.urls["reporting"]
        return Doors(office, invitation["code"], slip["url"], slip["code"], slip["name"])

    # ---- the comparison ----------------------------------------------------------------------------------------------

    async def check(self, now: datetime) -> list[Check]:
        return [await self._states(now), await self._rates(now), await self._values_kept()]

    async def _states(self, now: datetime) -> Check:
        check, cursor = Check("what units owe"), None
        found: dict[str, Any] = {}
        while True:
            params = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
            answer = await self._player.ask("GET", "reporting", f"{self._path}/obligations", params=params)
            for row in answer["rows"]:
                path = f"units/{row['unit_code']}/reports/{row['form']}/{row['period']}"
                found[path] = row["state"], row["version"], datetime.fromisoformat(row["due_at"])
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        check.same({owed.path: (owed.state(now), owed.version, owed.due_at) for owed in self._owed}, found)
        check.same(Counter(owed.state(now) for owed in self._owed), answer["counts"])
        return check

    async def _rates(self, now: datetime) -> Check:
        check = Check("reporting rates by county, form and period")
        keys: dict[str, Callable[[Owed], str]] = {
            "county": lambda owed: self._campaign.county(owed.unit),
            "form": lambda owed: owed.form.id,
            "period": lambda owed: owed.period,
        }
        for by, key in keys.items():
            expected: dict[str, dict[str, int]] = {}
            for owed in self._owed:
                row = expected.setdefault(key(owed), Counter())
                for figure in self._figures(owed, now):
                    row[figure] += 1
            answer = await self._player.ask("GET", "reporting", f"{self._path}/rates", params={"by": by})
            check.equal(by, sorted(expected), sorted(row["key"] for row in answer["rows"]))
            for row in answer["rows"]:
                wanted = expected[row["key"]]
                for figure in ("expected", "reported", "on_time", "late", "missing", "excused"):
                    check.equal((by, row["key"], figure), wanted[figure], row[figure])
                share = round(wanted["on_time"] / wanted["expected"], 4) if wanted["expected"] else None
                check.equal((by, row["key"], "on_time_rate"), share, row["on_time_rate"])
        return check

    @staticmethod
    def _figures(owed: Owed, now: datetime) -> list[str]:
        if owed.excused:
            return ["excused"]
        if owed.sent_at is not None:
            return ["expected", "reported", "on_time" if owed.sent_at <= owed.due_at else "late"]
        return ["expected", "missing"] if now > owed.due_at else ["expected"]

    async def _values_kept(self) -> Check:
        check = Check("reports as they were sent, and their receipts")
        sent = [owed for owed in self._owed if owed.version]
        for owed in sent[:: max(1, len(sent) // SAMPLE)]:
            kept = (await self._player.ask("GET", "reporting", f"{self._path}/{owed.path}"))["versions"][-1]
            check.equal(owed.path, owed.values, kept["values"])
            body = {"number": owed.number, "sha256": kept["sha256"]}
            known = await self._player.ask("POST", "reporting", "/v1/receipts/verify", json=body)
            check.equal(
                owed.number, (True, owed.unit, False), (known["genuine"], known["unit_code"], known["superseded"])
            )
        return check
