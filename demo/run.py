"""One run of the demo on a stack that is up: step by step, and the comparison at the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.answers import Answers
from demo.check import Comparison, compare
from demo.deliveries import Step
from demo.expectation import Expectation
from demo.office import Office
from demo.player import Player
from demo.reports import Doors, Reports
from demo.traffic import Traffic

VIEWERS_PER_UNIT = 10  # of so many viewers one unit reports: with few viewers the others never do


@dataclass
class Outcome:
    comparison: Comparison
    events: int

    @property
    def differences(self) -> list[str]:
        return [f"{check.what}: {difference}" for check in self.comparison.checks for difference in check.differences]


class Run:
    """`define`, then `send` and `finish` of every step, then `compare`.

    `exact` is False where services are killed meanwhile: an event whose answer was lost is sent again and answered `duplicate`.
    """

    def __init__(self, player: Player, traffic: Traffic, seed: int, *, exact: bool = True) -> None:
        self.player = player
        self.traffic = traffic
        self.expectation = Expectation(traffic.campaign)
        self._office = Office(player, self.expectation, seed)
        self._answers = Answers(exact=exact)
        self._reports = Reports(player, traffic.campaign, seed, units_max=len(traffic.viewers) // VIEWERS_PER_UNIT)
        self._events = 0
        # A recorded event may be sent again because a server stood still or was killed before the answer came. Then there are
        # more duplicates than the traffic has.
        self.repeats_possible = not exact
        self.now = traffic.campaign.at(traffic.campaign.days[0], "19:00")

    async def define(self, definition: dict[str, Any]) -> None:
        """Defines the campaign as `fanzha campaign apply` does."""
        campaign = self.traffic.campaign
        await self.player.ask("PUT", "checkin", f"/v1/campaigns/{campaign.id}", json=definition)
        await self.player.settle(self.now)

    async def send(self, step: Step, progress: Callable[[int], None] = lambda _: None) -> None:
        """Returns when everything is answered."""
        self.now = step.at
        self.player.set_clock(step.at)
        await self.player.play(step, progress)

    async def finish(self, step: Step) -> None:
        """Lets the services do what is due, and then people do their part."""
        self._events += step.events
        await self.player.settle(step.at)
        await self._reports.send(step.at)
        self._answers.hold(step, self.expectation.take(step))
        self.expectation.settle(step.at)
        if step.make_goods:
            for decision in step.make_goods:
                await self._office.make_good(decision)
            await self._settle(step)
            await self._reports.decide(step.at)
        if step.claims:
            await self._office.certificates(step.at, corrections=bool(step.make_goods))
            await self._settle(step)

    async def compare(self) -> Outcome:
        viewers, claimed = self.traffic.viewers, self._office.claimed
        comparison = await compare(self.player, self.expectation, viewers, claimed, exact=not self.repeats_possible)
        comparison.checks[:0] = [self._answers.posts, self._answers.bodies, self._answers.files]
        comparison.checks += await self._reports.check(self.now)
        return Outcome(comparison, self._events)

    async def doors(self) -> Doors:
        """How to get into the pages of the office and of a liaison."""
        return await self._reports.doors(self.now)

    async def _settle(self, step: Step) -> None:
        await self.player.settle(step.at)
        self.expectation.settle(step.at)
