"""What checkin measures. Verdicts are exact (from the database) except `duplicate`, which counts attempts.

The timetable is measured here, too: alerts and boards must know whether a window is open, and which lesson is current.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.checkin import store
from services.checkin.campaigns import Catalogue
from services.checkin.committer import Committer
from services.checkin.domain import ENROLLED, TYPES, Campaign, Reason, Verdict, current_lesson, open_window
from shared.clock import Clock
from shared.database import Transaction
from shared.service.metrics import Collector


def exact(clock: Clock, catalogue: Catalogue, committer: Committer, sources: Collection[str]) -> list[Collector]:
    """`sources`: the sources whose feeds this deployment receives. A platform that only hands over files has no feed that could
    stop."""

    async def last_event(_: Transaction) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "fanzha_last_event_timestamp_seconds",
            "When this process last took an event of the platform (wall time). Minutes ago in an open window: alert FeedStopped.",
            labels=["campaign"],
        )
        for campaign_id, at_s in sorted(committer.last_taken_s.items()):
            family.add_metric([campaign_id], at_s)
        return [family]

    async def timetable(tx: Transaction) -> Iterable[Metric]:
        titles = GaugeMetricFamily(
            "fanzha_campaign_info",
            "1 for each campaign, with its title. To show it: * on (campaign) group_left (title).",
            labels=["campaign", "title"],
        )
        windows = GaugeMetricFamily(
            "fanzha_window_open",
            "1 while check-ins of this lesson and mode are taken, else 0. Open and no check-ins: alert FeedStopped.",
            labels=["campaign", "lesson", "mode"],
        )
        current = GaugeMetricFamily(
            "fanzha_lesson_current",
            "1 for the lesson whose first window opened last, until 30 days after the course. To keep only its figures: "
            "* on (campaign, lesson) group_left ().",
            labels=["campaign", "lesson", "number", "title"],
        )
        now = clock.now()
        for campaign in (await catalogue.held(tx)).values():
            rules, dates = campaign.definition, campaign.lesson_texts
            titles.add_metric([campaign.id, rules.title], 1)
            is_open = open_window(rules, now)
            for lesson, mode in sorted({(window.lesson_index, window.mode) for window in rules.timeline}):
                windows.add_metric([campaign.id, dates[lesson], mode], (lesson, mode) == is_open)
            if (lesson_now := current_lesson(rules, now)) is not None:
                labels = [campaign.id, dates[lesson_now], str(lesson_now + 1), rules.lessons[lesson_now].title]
                current.add_metric(labels, 1)
        return [titles, windows, current]

    async def platforms(tx: Transaction) -> Iterable[Metric]:
        return _platforms((await catalogue.held(tx)).values(), clock.now(), committer.live_taken, sources)

    async def counts(tx: Transaction) -> Iterable[Metric]:
        return await _counts(tx, list(await catalogue.held(tx)))

    return [counts, _stated, timetable, platforms, last_event]


def _platforms(
    campaigns: Iterable[Campaign],
    now: datetime,
    live_taken: Mapping[tuple[str, str, str], int],
    sources: Collection[str],
) -> list[Metric]:
    """Figures of the campaigns' platforms whose feeds this deployment receives. Every lesson that a platform broadcasts live
    begins with 0."""
    titles = GaugeMetricFamily(
        "fanzha_platform_info",
        "1 for each platform of a campaign, with its title. To show it: * on (campaign, source) group_left (title).",
        labels=["campaign", "source", "title"],
    )
    windows = GaugeMetricFamily(
        "fanzha_platform_window_open",
        "1 while this platform broadcasts the lesson live, else 0. Open and nothing from it: alert FeedStopped.",
        labels=["campaign", "lesson", "source"],
    )
    checkins = CounterMetricFamily(
        "fanzha_platform_checkins",
        "Live check-ins that this process has taken from the platform's feed, repeats included, files not. Flat while another "
        "platform's rises: ask that platform.",
        labels=["campaign", "lesson", "source"],
    )
    for campaign in campaigns:
        for platform in campaign.definition.platforms:
            if platform.source not in sources:
                continue
            titles.add_metric([campaign.id, platform.source, platform.title], 1)
            is_open: dict[int, bool] = {}
            for window in campaign.definition.windows_of(platform):
                if window.mode == "live":
                    at = window.lesson_index
                    is_open[at] = is_open.get(at, False) or window.opens_at <= now < window.closes_at
            for at, opened in is_open.items():
                labels = campaign.id, campaign.lesson_texts[at], platform.source
                windows.add_metric(labels, opened)
                checkins.add_metric(labels, live_taken.get(labels, 0))
    return [titles, windows, checkins]


async def _stated(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_platform_count",
        "Check-ins that the platform itself counted, as the office stated them. Above ours: import the platform's export file.",
        labels=["campaign", "lesson", "mode"],
    )
    for campaign, lesson, mode, n in await store.platform_counts(tx):
        family.add_metric([campaign, lesson, mode], n)
    return [family]


async def _counts(tx: Transaction, campaign_ids: Iterable[str]) -> Iterable[Metric]:
    events = CounterMetricFamily(
        "fanzha_live_events",
        "Events by what became of them. Many rejected: look at the reason, then at the platform's clock or the windows.",
        labels=["campaign", "type", "lesson", "mode", "verdict", "reason"],
    )
    counted = {tuple(row)[:-1]: row["n"] for row in await store.verdict_counts(tx)}
    for labels, n in (_no_refusals(campaign_ids) | counted).items():
        events.add_metric(list(labels), n)
    days = GaugeMetricFamily(
        "fanzha_viewers_by_credited_days",
        "Viewers by credited days, 1 and more. A dent in the middle: which lesson's feed had a gap?",
        labels=["campaign", "days"],
    )
    for campaign, n_days, n in await store.credited_days_counts(tx):
        days.add_metric([campaign, str(n_days)], n)
    return [events, days]


def _no_refusals(campaign_ids: Iterable[str]) -> dict[tuple[str, ...], int]:
    """Every possible kind of refusal with the count 0. Otherwise a series would begin with its first refusals, would not seem
    to grow, and alert FeedRefused would miss them."""
    of_nobody = [("", "", Reason.MALFORMED), ("", "", Reason.UNKNOWN_TYPE)]
    of_nobody += [("", kind, Reason.UNKNOWN_CAMPAIGN) for kind in sorted(TYPES)]
    placed = [
        (campaign_id, kind, reason)
        for campaign_id in campaign_ids
        for kind in sorted(TYPES)
        for reason in (Reason.IN_FUTURE, Reason.OUTSIDE_WINDOW, Reason.NOT_OF_PLATFORM)
        if kind != ENROLLED or reason is Reason.IN_FUTURE  # an enrolment needs no window
    ]
    return {
        (campaign_id, kind, "", "", Verdict.REJECTED, reason): 0 for campaign_id, kind, reason in of_nobody + placed
    }
