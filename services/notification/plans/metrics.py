"""The metrics of plans; exact, read from the database at scrape time."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.notification.plans import store
from services.notification.plans.certificates import usecases as certificates
from services.notification.plans.kinds import KINDS
from shared.database import Transaction


async def unplanned(tx: Transaction) -> Iterable[Metric]:
    return [
        GaugeMetricFamily(
            "fanzha_notification_unplanned",
            "Certificates whose message is not planned yet. Staying above 0: the campaign's definition has not arrived, see the "
            "durable notification-definitions, or names a channel of a newer version, see fanzha_notification_rules_unknown.",
            sum([await kind.unplanned(tx) for kind in KINDS.values()]),
        )
    ]


async def rules_unknown(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_notification_rules_unknown",
        "Message rules whose event or channel this version does not know and leaves out. Above 0: is notification older than "
        "checkin? Upgrade it.",
        labels=["campaign"],
    )
    for campaign_id, n in (await store.rules_unknown(tx)).items():
        family.add_metric([campaign_id], n)
    return [family]


async def certificates_known(tx: Transaction) -> Iterable[Metric]:
    """Certificates known, by campaign. Counting is too slow for a scrape, so shared/service/measured.py measures it."""
    family = GaugeMetricFamily(
        "fanzha_certificates_known",
        "Certificates not revoked, as far as notification was told. More than certificate has: texts name certificates that do "
        "not exist, alert LedgerExceeded.",
        labels=["campaign"],
    )
    for campaign_id, n in sorted((await certificates.certificates_known(tx)).items()):
        family.add_metric([campaign_id], n)
    return [family]
