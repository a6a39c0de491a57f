"""The exact totals on `/metrics`, read from the database at each scrape (STACK, "Grafana and Prometheus").

A viewer's move takes numbers from one county to another, so numbers by county are gauges; without a county they only grow.
The figures are by county, lesson and mode only; the API and Postgres have those of every unit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.reporting.definition import UNDEFINED, Definition
from services.reporting.totals import store
from services.reporting.totals.domain import Certificates, CountyLine, TotalsLine, credited
from services.reporting.totals.questions import UNASSIGNED_NAME
from shared.contracts.base import UNASSIGNED, Mode
from shared.database import Transaction
from shared.definitions import Definitions
from shared.service.metrics import Collector


class _Families:
    def __init__(self) -> None:
        self.recorded = CounterMetricFamily(
            "fanzha_checkins_recorded",
            "Check-ins (人次) in the totals, late ones included. Flat in an open window: does checkin receive, is there lag?",
            labels=["campaign", "lesson", "mode"],
        )
        self.made_good = CounterMetricFamily(
            "fanzha_lessons_made_good",
            "Lessons granted by the office after an outage. A jump nobody announced: see checkin's make-goods.",
            labels=["campaign", "lesson"],
        )
        self.checkins = GaugeMetricFamily(
            "fanzha_checkins",
            "Check-ins (人次) by the viewers' present county. Negative for longer than the lag lasts: events are missing, "
            "`fanzha outbox republish`.",
            labels=["campaign", "lesson", "county", "mode"],
        )
        self.credited = GaugeMetricFamily(
            "fanzha_checkins_credited",
            "Check-ins and made-good lessons that count towards the certificate. Far below fanzha_checkins: late arrivals, or "
            "the credit policy.",
            labels=["campaign", "lesson", "county", "mode"],
        )
        self.lesson_viewers = GaugeMetricFamily(
            "fanzha_lesson_viewers",
            "People (人数) who checked in to the lesson. A county at 0 while others rise: ask its liaison.",
            labels=["campaign", "lesson", "county"],
        )
        self.viewers = GaugeMetricFamily(
            "fanzha_viewers",
            "People (人数) who checked in at least once. County unassigned growing: which posters carry no channel code?",
            labels=["campaign", "county"],
        )
        self.certificates = GaugeMetricFamily(
            "fanzha_certificates",
            "Certificates not revoked, by the holder's present county; claimed ones are among the issued. Issued but not "
            "claimed: remind the holders.",
            labels=["campaign", "county", "state"],
        )
        self.actions = CounterMetricFamily(
            "fanzha_live_room_actions",
            "Quiz answers, prizes and follows in the live room. Flat in an open window: has the platform stopped sending them?",
            labels=["campaign", "lesson", "action"],
        )
        self.residents = GaugeMetricFamily(
            "fanzha_county_residents",
            "Residents by the definition in force, to divide fanzha_viewers by. Missing: the definition gives none.",
            labels=["campaign", "county"],
        )
        self.county = GaugeMetricFamily(
            "fanzha_county_info",
            "1 for each county label, with its name. To show names: * on (campaign, county) group_left (name).",
            labels=["campaign", "county", "name"],
        )

    def all(self) -> list[Metric]:
        return list(vars(self).values())


def exact(known: Definitions[Definition]) -> list[Collector]:
    async def collect(tx: Transaction) -> Iterable[Metric]:
        families = _Families()
        for campaign_id in await store.campaigns(tx):
            await _collect(tx, known, campaign_id, families)
        return families.all()

    return [collect]


async def _collect(tx: Transaction, known: Definitions[Definition], campaign_id: str, families: _Families) -> None:
    definition = await known.in_force(tx, campaign_id) or UNDEFINED
    county_of = definition.tree.rolled_up("county")
    lines = await store.totals_by_county(tx, campaign_id, county_of)
    _add_counties(families, campaign_id, definition)
    _add_checkins(families, campaign_id, lines, definition.credit)
    _add_people(families, campaign_id, lines)
    _add_certificates(families, campaign_id, await store.certificates_by(tx, campaign_id, "unit"), county_of)
    for lesson, action, actions in sorted(await store.live_room_by(tx, campaign_id, "lesson")):
        families.actions.add_metric([campaign_id, lesson, action], actions)


def _add_counties(families: _Families, campaign_id: str, definition: Definition) -> None:
    families.county.add_metric([campaign_id, UNASSIGNED, UNASSIGNED_NAME], 1)
    for county in dict.fromkeys(definition.tree.rolled_up("county").values()):
        unit = definition.tree.unit(county)
        families.county.add_metric([campaign_id, county, unit.name if unit else ""], 1)
        if unit and unit.residents and definition.tree.covers(county, "county"):
            families.residents.add_metric([campaign_id, county], unit.residents.count)


def _add_checkins(
    families: _Families, campaign_id: str, lines: Sequence[CountyLine], credit: frozenset[Mode] | None
) -> None:
    recorded: Counter[tuple[str, str]] = Counter()
    made_good: Counter[str] = Counter()
    for day, mode, county, counts in lines:
        lesson = day.isoformat()
        if mode == "made_good":
            made_good[lesson] += counts.made_good
        else:
            recorded[lesson, mode] += counts.checkins
            families.checkins.add_metric([campaign_id, lesson, county, mode], counts.checkins)
        if credit is not None:
            counted = credited(TotalsLine(county, mode, counts), credit)
            families.credited.add_metric([campaign_id, lesson, county, mode], counted)
    for labels, number in recorded.items():
        families.recorded.add_metric([campaign_id, *labels], number)
    for lesson, number in made_good.items():
        families.made_good.add_metric([campaign_id, lesson], number)


def _add_people(families: _Families, campaign_id: str, lines: Sequence[CountyLine]) -> None:
    of_lesson: Counter[tuple[str, str]] = Counter()
    of_campaign: Counter[str] = Counter()
    for day, _, county, counts in lines:
        of_lesson[day.isoformat(), county] += counts.first_for_lesson
        of_campaign[county] += counts.first_for_campaign
    for (lesson, county), number in of_lesson.items():
        families.lesson_viewers.add_metric([campaign_id, lesson, county], number)
    for county, number in of_campaign.items():
        families.viewers.add_metric([campaign_id, county], number)


def _add_certificates(
    families: _Families, campaign_id: str, by_unit: Mapping[str, Certificates], county_of: Mapping[str, str]
) -> None:
    issued: Counter[str] = Counter()
    claimed: Counter[str] = Counter()
    for unit_code, held in by_unit.items():
        county = county_of.get(unit_code, UNASSIGNED)
        issued[county] += held.issued
        claimed[county] += held.claimed
    for county in sorted(issued):
        families.certificates.add_metric([campaign_id, county, "issued"], issued[county])
        families.certificates.add_metric([campaign_id, county, "claimed"], claimed[county])
