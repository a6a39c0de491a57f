"""The metrics of pictures, read from the database at scrape time."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.reporting.definition import Definition
from services.reporting.obligations.pictures import usecases
from shared.database import Transaction
from shared.definitions import Definitions
from shared.service.metrics import Collector


def volume(definitions: Definitions[Definition], campaign_max_bytes: int) -> Collector:
    """A collector of how much the pictures of each campaign take, and how much they may."""

    async def collect(tx: Transaction) -> Iterable[Metric]:
        kept = GaugeMetricFamily(
            "fanzha_pictures_bytes",
            "Bytes of the pictures in a campaign's reports. Near its limit: alert PicturesFilling.",
            labels=["campaign"],
        )
        limit = GaugeMetricFamily(
            "fanzha_pictures_limit_bytes",
            "How many bytes a campaign's pictures may have; then no more are taken. Raised by PICTURES_MAX_BYTES.",
            labels=["campaign"],
        )
        for campaign_id, size in (await usecases.volumes(tx, definitions)).items():
            kept.add_metric([campaign_id], size)
            limit.add_metric([campaign_id], campaign_max_bytes)
        return [kept, limit]

    return collect
