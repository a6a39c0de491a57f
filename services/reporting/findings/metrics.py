"""The metric of findings, read from the database at scrape time."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.reporting.findings import usecases
from shared.database import Transaction


async def not_looked_at(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_reports_not_looked_at",
        "Reports that the rules of 差异待核 could not read; they are tried again every hour. Above 0: the log says "
        "`report not looked at` with the reason.",
        labels=["campaign"],
    )
    for campaign_id, n in (await usecases.failing(tx)).items():
        family.add_metric([campaign_id], n)
    return [family]
