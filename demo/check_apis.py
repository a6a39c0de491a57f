"""What the APIs answer to the office, to one county, and about single viewers."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import product
from typing import Any

from demo.comparison import Check
from demo.expectation import Expectation, Viewer
from demo.player import Player, run_concurrently
from demo.sums import BY, Row, Sums
from devstack.secrets import load_or_create
from shared.service.tokens import create_token

COUNTY = "140902"  # whose token must see its own numbers and no others
SAMPLE = 40
REQUESTS_AT_ONCE = 8


class Apis:
    def __init__(self, player: Player, expectation: Expectation, sums: Sums) -> None:
        self._player = player
        self._expectation = expectation
        self._campaign = expectation.campaign
        self._sums = sums
        self._path = f"/v1/campaigns/{self._campaign.id}"
        self.viewer_page = ""

    async def check(self) -> list[Check]:
        return [*await self._totals(), await self._one_county(), await self._live_room(), await self._viewers_asked()]

    async def _totals(self) -> list[Check]:
        """Asks for totals in every way: by each key, and with every lesson and mode."""
        checks = {by: Check(f"totals by {by}") for by in BY}
        lessons = [None, *(day.isoformat() for day in self._campaign.days)]

        async def ask(by: str, lesson: str | None, mode: str | None) -> None:
            answer = await self._ask_totals(by, lesson, mode)
            self._hold_rows(checks[by], (by, lesson, mode), self._sums.rows(by, lesson, mode), answer["rows"])
            if lesson is None and mode is None:
                checks[by].equal(
                    (by, "attributed_share"), self._sums.attributed_share(), answer["sum"]["attributed_share"]
                )
                checks[by].equal((by, "people"), sum(self._sums.viewers.values()), answer["sum"]["viewers"])

        questions = product(BY, lessons, (None, "live", "replay"))
        await run_concurrently(questions, lambda question: ask(*question), REQUESTS_AT_ONCE)
        return list(checks.values())

    async def _ask_totals(self, by: str, lesson: str | None, mode: str | None, token: str | None = None) -> Any:
        params = {key: value for key, value in (("by", by), ("lesson", lesson), ("mode", mode)) if value}
        return await self._player.ask("GET", "reporting", f"{self._path}/totals", token=token, params=params)

    @staticmethod
    def _hold_rows(
        check: Check, where: tuple[Any, ...], expected: Mapping[str, Row], answered: list[dict[str, Any]]
    ) -> None:
        answered_rows = {row["key"]: _row(row) for row in answered}
        for key in expected.keys() | answered_rows.keys():
            wanted, got = expected.get(key), answered_rows.get(key)
            check.equal((*where, key), wanted, got)
            check.expected += wanted.checkins if wanted else 0
            check.found += got.checkins if got else 0

    async def _one_county(self) -> Check:
        check = Check(f"totals with a token of {COUNTY} only")
        sums = Sums(self._expectation, COUNTY)
        token = create_token(
            load_or_create(self._player.home).token_private_key,
            subject="demo",
            role="auditor",
            campaign=self._campaign.id,
            unit=COUNTY,
            valid_for=timedelta(hours=1),
        )
        for by in (by for by in BY if by != "platform"):  # platforms have figures only for the whole campaign
            answer = await self._ask_totals(by, None, None, token)
            self._hold_rows(check, (by,), sums.rows(by), answer["rows"])
        for service, path in (("checkin", "viewers/ks_000001"), ("certificate", "certificates/ks_000001")):
            response = await self._player.fetch("GET", service, f"{self._path}/{path}", token=token)
            check.equal(path, 403, response.status_code)
        return check

    async def _live_room(self) -> Check:
        check = Check("live room by unit, county, lesson, item")
        rows = list(self._expectation.actions.values())
        keys: dict[str, Callable[[tuple[str, str, str, str]], str]] = {
            "unit": lambda row: row[2],
            "county": lambda row: self._campaign.county(row[2]),
            "lesson": lambda row: row[0],
            "item": lambda row: row[3],
        }
        for by, key in keys.items():
            answer = await self._player.ask("GET", "reporting", f"{self._path}/live-room", params={"by": by})
            summed = {
                (by, row["key"], action): row[action]
                for row in answer["rows"]
                for action in ("quiz_answered", "prize_won", "account_followed")
            }
            check.same(Counter((by, key(row), row[1]) for row in rows), summed)
        return check

    async def _viewers_asked(self) -> Check:
        """Asks for each viewer of a sample: every lesson's state and reason, the page, the what-if."""
        check = Check("viewers asked one by one")
        known = sorted(self._expectation.viewers)
        sample = [*known[:10], *known[10 :: max(1, len(known) // SAMPLE)]]
        for viewer_id in sample:
            answer = await self._player.ask("GET", "checkin", f"{self._path}/viewers/{viewer_id}")
            viewer = self._expectation.viewers[viewer_id]
            credited = len(viewer.credited(self._campaign.credit))
            check.equal((viewer_id, "credited_days"), credited, answer["credited_days"])
            check.equal((viewer_id, "unit, group"), (viewer.unit, viewer.group), (answer["unit_code"], answer["group"]))
            states = [(lesson["state"], lesson["reason"]) for lesson in answer["lessons"]]
            check.equal(
                (viewer_id, "lessons"),
                [self._state(viewer, lesson) for lesson in range(len(self._campaign.days))],
                states,
            )
        link = await self._player.ask("POST", "checkin", f"{self._path}/viewers/{sample[0]}/link")
        self.viewer_page = link["url"]
        response = await self._player.fetch("GET", self.viewer_page)
        check.equal("status of the viewer's page", 200, response.status_code)
        days = len(self._expectation.viewers[sample[0]].credited(self._campaign.credit))
        check.equal("days on the viewer's page", True, f'<span class="number">{days}</span>' in response.text)
        answer = await self._player.ask("GET", "checkin", f"{self._path}/whatif", params={"credit": "live,replay"})
        check.equal("what-if live,replay", self._completing(["live", "replay"]), answer["completing"])
        check.equal("what-if now", self._completing(self._campaign.credit), answer["completing_now"])
        return check

    def _completing(self, credit: list[str]) -> int:
        viewers = self._expectation.viewers.values()
        return sum(len(viewer.credited(credit)) >= self._campaign.required_days for viewer in viewers)

    def _state(self, viewer: Viewer, lesson: int) -> tuple[str, str | None]:
        """The lesson's state and reason after everything is sealed."""
        if any(viewer.checkins(mode).get(lesson) is False for mode in self._campaign.credit):
            return "credited", None
        if lesson in viewer.made_good:
            return "made_good", None
        if lesson in viewer.seen():
            late = viewer.live.get(lesson) or viewer.replay.get(lesson)
            return "not_credited", "late" if late else "replay_not_credited"
        return "missed", None


def _row(row: Mapping[str, Any]) -> Row:
    names = (
        "checkins",
        "late",
        "made_good",
        "credited",
        "viewers",
        "certificates_issued",
        "certificates_claimed",
        "per_10k",
    )
    return Row(*(row[name] for name in names))
