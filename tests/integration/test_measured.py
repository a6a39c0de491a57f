"""Slow figures: what ledgers hold and durables have applied, exact when measured, and left out where they cannot be."""

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.notification.plans.metrics import certificates_known
from shared.bus.topology import DURABLES, SERVICES
from shared.database import Database
from shared.service.measured import Measured, events
from tests.support.checkin import CAMPAIGN
from tests.support.deployment import FINISHED, WholeDeployment, hold_campaign
from tests.support.deployment import stack as stack
from tests.support.nats_support import eventually

LEDGER, APPLIED, KNOWN = "fanzha_events_in_ledger", "fanzha_events_applied", "fanzha_certificates_known"


async def measured(stack: WholeDeployment, service: str) -> dict[tuple[str, ...], float]:
    """By metric and label values."""
    db: Database = stack.services[service].db
    slow = Measured(db, [events(service), *([certificates_known] if service == "notification" else [])])
    await slow.measure()
    async with db.transaction() as tx:
        families: list[Metric] = list(await slow.last(tx))
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


async def everywhere(stack: WholeDeployment) -> dict[tuple[str, ...], float]:
    return {key: n for service in SERVICES for key, n in (await measured(stack, service)).items()}


async def test_a_durable_has_applied_what_the_ledger_holds_and_not_more(stack: WholeDeployment) -> None:
    async with stack.running():
        empty = await everywhere(stack)
        assert {key[1] for key in empty if key[0] == APPLIED} == {
            durable.name for durable in DURABLES if durable.stream == "EVENTS"
        }
        assert {n for key, n in empty.items() if key[0] != KNOWN} == {0}
        await hold_campaign(stack)
        measured = await everywhere(stack)
        ledger = {key[1]: n for key, n in measured.items() if key[0] == LEDGER}
        for name, durable, *subject in measured:
            if name == APPLIED and durable != "certificate-completions":  # which forgets those with nobody in them
                assert measured[name, durable, *subject] == ledger[subject[0]] > (0 if "issued" in durable else -1)
        assert measured[KNOWN, CAMPAIGN] == len(FINISHED)

        lost = "DELETE FROM outbox WHERE subject LIKE '%checkin_recorded%'"
        await stack.postgres.execute(lost, role="checkin_owner", database=stack.databases["checkin"].name)
        measured = await everywhere(stack)
        subject_lost = "events.checkin.checkin_recorded.v1"
        assert measured[APPLIED, "reporting-totals", subject_lost] > measured[LEDGER, subject_lost] == 0


async def test_every_service_tells_them_soon_after_its_start(stack: WholeDeployment) -> None:
    async with stack.running():
        for service in SERVICES:

            async def told(service: str = service) -> bool:
                page = (await stack.services[service].client.get("/metrics")).text
                samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
                return {s.labels["durable"] for s in samples if s.name == APPLIED} == {
                    durable.name for durable in DURABLES if durable.service == service and durable.stream == "EVENTS"
                }

            await eventually(told, what=f"{service} has measured")


async def test_what_cannot_be_measured_is_left_out_and_not_old(stack: WholeDeployment) -> None:
    db = Database(stack.databases["reporting"].url, pool_size=1)
    slow = Measured(db, [events("reporting")])
    try:
        await slow.measure()
        async with db.transaction() as tx:
            assert len(list(await slow.last(tx))) == 2
        rename = "ALTER TABLE {} RENAME TO {}"
        name = stack.databases["reporting"].name
        await stack.postgres.execute(rename.format("inbox", "away"), role="reporting_owner", database=name)
        await slow.measure()
        async with db.transaction() as tx:
            assert list(await slow.last(tx)) == []
        await stack.postgres.execute(rename.format("away", "inbox"), role="reporting_owner", database=name)
        await slow.measure()
        async with db.transaction() as tx:
            assert len(list(await slow.last(tx))) == 2
    finally:
        await db.close()
