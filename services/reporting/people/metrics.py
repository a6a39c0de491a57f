"""The metrics of people: who is signed in, read from the database at scrape time, and the answers to wrong tries, which the alert
SignInGuessed adds up."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from services.reporting.people import usecases
from shared.database import Transaction
from shared.service.metrics import Answer
from shared.service.tokens import wall_now

WRONG_TRIES = [
    Answer("POST", path, status)
    for path, wrong in {
        "/sign-in": "401",
        "/sign-in/second-step": "401",
        "/account/passphrase": "401",
        "/account/second-step/off": "401",
        "/invitation": "404",
    }.items()
    for status in (wrong, "429")
]


async def signed_in(tx: Transaction) -> Iterable[Metric]:
    family = GaugeMetricFamily(
        "fanzha_sessions",
        "Sessions of the office's people in use within two hours. More than there are people: `fanzha person list` says whose.",
        labels=["campaign"],
    )
    for campaign_id, n in (await usecases.signed_in(tx, wall_now())).items():
        family.add_metric([campaign_id], n)
    return [family]
