"""The metrics of certificate: read from the database at scrape time, except the count of what this process has rendered."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.certificate import store
from services.certificate.files import Drawings
from shared.clock import Clock
from shared.contracts.campaign import CampaignRules
from shared.database import Transaction
from shared.definitions import Definitions
from shared.service.metrics import Collector


def exact(clock: Clock, definitions: Definitions[CampaignRules], drawings: Drawings) -> list[Collector]:
    async def collect(tx: Transaction) -> Iterable[Metric]:
        certificates = GaugeMetricFamily(
            "fanzha_certificates",
            "Certificates by state; `waiting` completed the course and has none yet.",
            labels=["campaign", "state"],
        )
        due = GaugeMetricFamily(
            "fanzha_certificates_due",
            "Completed, the claim time has come, not issued. Not falling to 0 within minutes: is the sweep failing? See the log.",
            labels=["campaign"],
        )
        counts = await store.counts(tx)
        for campaign_id, states in sorted(counts.items()):
            for state, n in states.items():
                certificates.add_metric([campaign_id, state], n)
        now = clock.now()
        for rules in (await definitions.all(tx)).values():
            waiting = counts.get(rules.campaign_id, {}).get("waiting", 0)
            if rules.certificate:
                due.add_metric([rules.campaign_id], waiting if rules.certificate.claim_from <= now else 0)
        incomplete = CounterMetricFamily(
            "fanzha_certificates_incomplete",
            "PDFs and pictures rendered by this process in which 〓 stands for a character of the holder that no font has. "
            "Growing: the log has the serials; give a font (FONT_DIR).",
            value=drawings.incomplete,
        )
        return [certificates, due, incomplete]

    return [collect]
