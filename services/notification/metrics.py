"""What `/metrics` tells about messages, exactly, from the database at scrape time."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.notification import store
from shared.clock import Clock
from shared.database import Transaction
from shared.service.metrics import Collector


def exact(clock: Clock) -> list[Collector]:
    async def oldest(tx: Transaction) -> Iterable[Metric]:
        now = clock.now()
        due = GaugeMetricFamily(
            "fanzha_notification_oldest_due_seconds",
            "For how long the oldest message that could go out has been due. Minutes, inside the send window: sending fails, see "
            "fanzha_due_work_failing and the log.",
            labels=["channel"],
        )
        unresolved = GaugeMetricFamily(
            "fanzha_notification_oldest_unresolved_seconds",
            "Age of the oldest attempt with unknown result. Growing: the channel answers no queries and sends no receipts.",
            labels=["channel"],
        )
        for row in await store.oldest(tx, now):
            for family, since in ((due, row["due_since"]), (unresolved, row["unresolved_since"])):
                family.add_metric([row["channel"]], (now - since).total_seconds() if since else 0)
        return [due, unresolved]

    return [_notifications, _unplanned, _rules_unknown, oldest]


async def _notifications(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_notifications",
        "Messages by status. failed or unknown rising: GET /v1/campaigns/…/notifications?status=… names the reason. suppressed "
        "with no_contact: these viewers gave no phone.",
        labels=["campaign", "kind", "channel", "status"],
    )
    for row in await store.all_counts(tx):
        family.add_metric([row["campaign_id"], row["kind"], row["channel"], row["status"]], row["n"])
    return [family]


async def _unplanned(tx: Transaction) -> Iterable[Metric]:
    return [
        GaugeMetricFamily(
            "fanzha_notification_unplanned",
            "Certificates whose message is not planned yet. Staying above 0: the campaign's definition has not arrived, see the "
            "durable notification-definitions, or names a channel of a newer version, see fanzha_notification_rules_unknown.",
            await store.unplanned(tx),
        )
    ]


async def _rules_unknown(tx: Transaction) -> Iterable[Metric]:
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
    """Too slow for a scrape: it is measured (shared/service/measured.py)."""
    family = GaugeMetricFamily(
        "fanzha_certificates_known",
        "Certificates not revoked, as far as notification was told. More than certificate has: texts name certificates that do "
        "not exist, alert LedgerExceeded.",
        labels=["campaign"],
    )
    for campaign_id, n in sorted((await store.certificates_known(tx)).items()):
        family.add_metric([campaign_id], n)
    return [family]
