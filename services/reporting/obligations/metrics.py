"""The metrics of obligations, read from the database at scrape time."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.reporting.obligations import usecases
from shared.database import Transaction


async def forms_unknown(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_forms_unknown",
        "Values in a campaign's forms and indicators that this version does not know; it leaves out what they stand in. Above 0: "
        "is reporting older than checkin? Upgrade it.",
        labels=["campaign"],
    )
    for campaign_id, n in (await usecases.forms_unknown(tx)).items():
        family.add_metric([campaign_id], n)
    return [family]
