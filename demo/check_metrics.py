"""Checks what `/metrics` of the four services says."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from demo.comparison import Check
from demo.expectation import Expectation
from demo.player import Player
from demo.sums import Sums
from shared.bus.topology import SERVICES


class Metrics:
    def __init__(self, player: Player, expectation: Expectation, sums: Sums) -> None:
        self._player = player
        self._expectation = expectation
        self._campaign = expectation.campaign
        self._sums = sums
        self.pages: dict[str, str] = {}

    async def check(self, *, exact: bool) -> list[Check]:
        """`exact` is False where services were killed: a repeat of a recorded event then counts as one more `duplicate`."""
        self.pages = {service: (await self._player.fetch("GET", service, "/metrics")).text for service in SERVICES}
        samples = {service: Samples(page) for service, page in self.pages.items()}
        return [
            self._verdict_metrics(samples["checkin"], exact=exact),
            self._reporting_metrics(samples["reporting"]),
            self._certificate_metrics(samples["certificate"], samples["notification"]),
            self._quiet_metrics(samples),
        ]

    def _verdict_metrics(self, samples: "Samples", *, exact: bool) -> Check:
        check = Check("/metrics: events by verdict and reason")
        labels = ("campaign", "type", "lesson", "mode", "verdict", "reason")
        counted = samples.by("fanzha_live_events_total", *labels)
        expected: Mapping[tuple[str, ...], int] = self._expectation.verdicts  # type: ignore[assignment]
        for key in expected.keys() | counted.keys():
            hold = check.equal if exact or "duplicate" not in key else check.at_least
            hold(key, expected.get(key, 0), counted.get(key, 0))
        days = Counter(
            str(len(viewer.credited(self._campaign.credit)))
            for viewer in self._expectation.viewers.values()
            if viewer.credited(self._campaign.credit)
        )
        check.same(
            {(day,): number for day, number in days.items()}, samples.by("fanzha_viewers_by_credited_days", "days")
        )
        return check

    def _reporting_metrics(self, samples: "Samples") -> Check:
        check = Check("/metrics: check-ins and people by lesson, county, mode")
        sums, county = self._sums, self._campaign.county
        recorded: Counter[tuple[str, ...]] = Counter()
        by_county: Counter[tuple[str, ...]] = Counter()
        credited: Counter[tuple[str, ...]] = Counter()
        for cell, number in sums.checkins.items():
            recorded[cell.lesson, cell.mode] += number
            by_county[cell.lesson, county(cell.unit), cell.mode] += number
            if cell.mode in self._campaign.credit:
                credited[cell.lesson, county(cell.unit), cell.mode] += number - sums.late[cell]
        made_good: Counter[tuple[str, ...]] = Counter()
        for cell, number in sums.made_good.items():
            made_good[(cell.lesson,)] += number
            credited[cell.lesson, county(cell.unit), "made_good"] += number
        lesson_viewers: Counter[tuple[str, ...]] = Counter()
        for (lesson, unit, _), number in sums.lesson_viewers.items():
            lesson_viewers[lesson, county(unit)] += number
        viewers: Counter[tuple[str, ...]] = Counter()
        for (unit, _), number in sums.viewers.items():
            viewers[(county(unit),)] += number
        held: Counter[tuple[str, ...]] = Counter()
        for (unit, group), number in sums.issued.items():
            held[county(unit), "issued"] += number
            held[county(unit), "claimed"] += sums.claimed[unit, group]
        actions = Counter((lesson, action) for lesson, action, _, _ in self._expectation.actions.values())
        check.same(recorded, samples.by("fanzha_checkins_recorded_total", "lesson", "mode"))
        check.same(made_good, samples.by("fanzha_lessons_made_good_total", "lesson"))
        check.same(by_county, samples.by("fanzha_checkins", "lesson", "county", "mode"))
        check.same(credited, samples.by("fanzha_checkins_credited", "lesson", "county", "mode"))
        check.same(lesson_viewers, samples.by("fanzha_lesson_viewers", "lesson", "county"))
        check.same(viewers, samples.by("fanzha_viewers", "county"))
        check.same(held, samples.by("fanzha_certificates", "county", "state"))
        check.same(actions, samples.by("fanzha_live_room_actions_total", "lesson", "action"))
        return check

    def _certificate_metrics(self, certificate: "Samples", notification: "Samples") -> Check:
        check = Check("/metrics: certificates and messages by state")
        states = Counter(
            ("revoked" if issued.revoked else "claimed" if issued.claimed else "unclaimed",)
            for issued in self._expectation.certificates
        )
        check.same(states, certificate.by("fanzha_certificates", "state"))
        statuses = Counter(("certificate_ready", issued.message.status) for issued in self._expectation.certificates)
        check.same(statuses, notification.by("fanzha_notifications", "kind", "status"))
        return check

    def _quiet_metrics(self, samples: "Mapping[str, Samples]") -> Check:
        check = Check("/metrics: nothing waits, nothing else is parked")
        for service, page in samples.items():
            check.equal((service, "outbox"), 0, int(page.by("fanzha_outbox_pending").get((), 0)))
            parked = {("checkin-live",): self._expectation.dead_letters} if service == "checkin" else {}
            check.same(parked, page.by("fanzha_dead_letters", "durable"))
        return check


class Samples:
    """The samples of a `/metrics` page."""

    def __init__(self, page: str) -> None:
        self._samples: dict[str, list[Any]] = defaultdict(list)
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self._samples[sample.name].append(sample)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], int]:
        values: Counter[tuple[str, ...]] = Counter()
        for sample in self._samples[name]:
            values[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return values
