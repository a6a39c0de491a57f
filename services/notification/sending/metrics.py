"""The metrics of sending; exact, read from the database at scrape time."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from services.notification.sending import store
from services.notification.sending.domain import Status
from shared.clock import Clock
from shared.contracts.campaign import CHANNELS
from shared.database import Transaction
from shared.definitions import Definitions, InForce
from shared.service.metrics import Collector


def exact(clock: Clock, channels: Sequence[str], definitions: Definitions[InForce]) -> list[Collector]:
    """`channels`: those that this deployment has."""

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
        for row in await store.oldest(tx, channels, now):
            for family, since in ((due, row["due_since"]), (unresolved, row["unresolved_since"])):
                family.add_metric([row["channel"]], (now - since).total_seconds() if since else 0)
        return [due, unresolved]

    async def without_channel(tx: Transaction) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "fanzha_notification_without_channel",
            "Messages that wait for a channel which this deployment does not have. Above 0: nobody gets them, see the runbook "
            "MessagesWithoutChannel.",
            labels=["channel"],
        )
        for channel, n in (dict.fromkeys(CHANNELS, 0) | await store.without_channel(tx, channels)).items():
            family.add_metric([channel], n)
        return [family]

    async def notifications(tx: Transaction) -> Iterable[Metric]:
        return await _notifications(tx, await definitions.all(tx))

    return [notifications, oldest, without_channel]


async def _notifications(tx: Transaction, defined: Mapping[str, InForce]) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_notifications",
        "Messages by status. failed or unknown rising: GET /v1/campaigns/…/notifications?status=… names the reason. suppressed "
        "with no_contact: these viewers gave no phone.",
        labels=["campaign", "kind", "channel", "status"],
    )
    counts = {  # begins with 0 everywhere: a series that appears with its first failures has not grown, so no alert would fire
        (campaign_id, rule.event, rule.channel, status.value): 0
        for campaign_id, definition in defined.items()
        for rule in definition.rules.messages
        for status in Status
    }
    for row in await store.all_counts(tx):
        counts[row["campaign_id"], row["kind"], row["channel"], row["status"]] = row["n"]
    for labels, n in counts.items():
        family.add_metric(labels, n)
    return [family]
