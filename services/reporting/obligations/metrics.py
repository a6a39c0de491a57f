"""The metrics of obligations, read from the database at scrape time. By county, because a series for every unit is too many."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from services.reporting.obligations import usecases
from services.reporting.obligations.usecases import Known
from shared.clock import Clock
from shared.database import Transaction
from shared.service.metrics import Collector


def exact(known: Known, clock: Clock) -> Sequence[Collector]:
    async def by_county(tx: Transaction) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "fanzha_obligations",
            "Reports that units owe, by what became of them: expected (opened, not excused), on_time, late, missing, excused. "
            "Missing rises after a deadline: chase those on the desk.",
            labels=["campaign", "form", "county", "state"],
        )
        for (campaign_id, form, county), tally in (await usecases.by_county(tx, known, clock.now())).items():
            for state, n in tally._asdict().items():
                family.add_metric([campaign_id, form, county, state], n)
        return [family]

    async def waiting(tx: Transaction) -> Iterable[Metric]:
        due_soon = GaugeMetricFamily(
            "fanzha_reports_due_within_an_hour",
            "Reports still owed whose due time is within the next hour. Above 0: who has not reported yet? See the desk.",
            labels=["campaign"],
        )
        untold = GaugeMetricFamily(
            "fanzha_reminders_waiting",
            "Reports past their time, by over five minutes, for which no reminder was raised. Above 0: is the sweep `overdue` "
            "failing?",
            labels=["campaign"],
        )
        unknown = GaugeMetricFamily(
            "fanzha_periods_without_due_time",
            "Periods of which nobody knows when reports are due, because the working days of that year are not known. Above 0: "
            "add non_working_days to the campaign.",
            labels=["campaign"],
        )
        for campaign_id, one in (await usecases.waiting(tx, known, clock.now())).items():
            due_soon.add_metric([campaign_id], one.due_soon)
            untold.add_metric([campaign_id], one.untold)
            unknown.add_metric([campaign_id], one.without_due_time)
        return [due_soon, untold, unknown]

    return [by_county, waiting, _forms_unknown]


async def _forms_unknown(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_forms_unknown",
        "Values in a campaign's forms and indicators that this version does not know; it leaves out what they stand in. Above 0: "
        "is reporting older than checkin? Upgrade it.",
        labels=["campaign"],
    )
    for campaign_id, n in (await usecases.forms_unknown(tx)).items():
        family.add_metric([campaign_id], n)
    return [family]
