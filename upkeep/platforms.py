"""Who may send: the sources that a deployment verifies, beside the platforms that campaigns name."""

import json
from typing import NamedTuple

from services.checkin.agreement import Platform, platforms
from shared.bus.topology import LIVE_SUBJECT
from shared.database import Transaction
from upkeep import dump
from upkeep.deployment import Deployment

BUS = "bus"  # no webhook: it publishes on NATS, as the user `live`


class Sender(NamedTuple):
    """A source. `verifier` and `secrets`: None and empty where this deployment verifies no posts of it. `named_by`: the campaigns
    among whose platforms it is."""

    source: str
    verifier: str | None
    secrets: list[str]
    named_by: list[Platform]

    @property
    def can_send(self) -> bool:
        return self.verifier is not None or self.source == BUS


def address(source: str, public_url: str) -> str:
    """Where this source posts, or publishes."""
    return f"NATS {LIVE_SUBJECT}" if source == BUS else f"{public_url}/v1/live/events/{source}"


async def named(deployment: Deployment) -> list[Platform]:
    """The platforms of all campaigns in force. Raises what upkeep/check_agreement.py lists as AWAY."""
    connection = await dump.connect(deployment.databases["checkin"], dump.LOOKING)
    try:
        return await platforms(Transaction(connection))
    finally:
        await connection.close()


def senders(deployment: Deployment, named: list[Platform]) -> list[Sender]:
    """Every source, by name."""
    verified = json.loads(deployment.environments["checkin"].get("WEBHOOK_SOURCES") or "{}")
    listed: list[Sender] = []
    for source in sorted(verified.keys() | {platform.source for platform in named}):
        settings = verified.get(source, {})
        campaigns = [platform for platform in named if platform.source == source]
        listed.append(Sender(source, settings.get("verifier"), settings.get("secrets", []), campaigns))
    return listed
