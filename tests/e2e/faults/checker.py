"""Holds what the clients were told against what the stack has, and the parts of the stack against each other.

Pure: a `Snapshot` in, differences in words out. Nothing said is nothing lost, nothing counted twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tests.e2e.faults.course import REQUIRED_DAYS, phone, tells_phone
from tests.e2e.faults.journal import Outcome
from tests.e2e.faults.snapshot import Cell, Snapshot, Sums


class Sort(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    REFUSED_COUNTED = "refused, and counted"
    DISAGREES = "disagrees"  # two parts of the stack do
    LEFT_OVER = "left over"


class Difference(NamedTuple):
    sort: Sort
    words: str

    def __str__(self) -> str:
        return f"{self.sort}: {self.words}"


def check(snapshot: Snapshot) -> list[Difference]:
    return [
        *_told_against_ledger(snapshot),
        *_viewers_against_ledger(snapshot),
        *_totals(snapshot),
        *_certificates(snapshot),
        *_claims(snapshot),
        *_messages(snapshot),
        *_left_over(snapshot),
    ]


def _told_against_ledger(snapshot: Snapshot) -> Iterable[Difference]:
    """Check-ins and enrolments: every ok once, no refused, unknown at most once, nothing that nobody sent."""
    for identity, outcome in snapshot.told.items():
        if identity.startswith("claim "):
            continue
        count = snapshot.ledger[identity]
        if outcome is Outcome.OK and count == 0:
            yield Difference(Sort.LOST, f"{identity}: accepted, and not in the ledger")
        if outcome is Outcome.REFUSED and count:
            yield Difference(Sort.REFUSED_COUNTED, f"{identity}: refused, and in the ledger")
    for identity, count in snapshot.ledger.items():
        if count > 1:
            yield Difference(Sort.DOUBLED, f"{identity}: {count} times in the ledger")
        if identity not in snapshot.told:
            yield Difference(Sort.DISAGREES, f"{identity}: in the ledger, and nobody sent it")


def _viewers_against_ledger(snapshot: Snapshot) -> Iterable[Difference]:
    rows = {
        *(f"checkin {who} {lesson} {mode}" for who, row in snapshot.viewers.items() for lesson, mode in row.checkins),
        *(
            f"enrolment {who} {enrolment_id}"
            for who, enrolments in snapshot.enrolments.items()
            for enrolment_id in enrolments
        ),
    }
    for identity in rows - snapshot.ledger.keys():
        yield Difference(Sort.DISAGREES, f"{identity}: in checkin's rows and not in its ledger")
    for identity in snapshot.ledger.keys() - rows:
        yield Difference(Sort.DISAGREES, f"{identity}: in checkin's ledger and not in its rows")
    for who, row in snapshot.viewers.items():
        latest = snapshot.enrolments.get(who, [None])[-1]
        if row.enrolment_id != latest:
            yield Difference(Sort.DISAGREES, f"viewer {who}: enrolled by {row.enrolment_id}, the latest is {latest}")


def expected_totals(snapshot: Snapshot) -> dict[Cell, Counter[str]]:
    """Sums over checkin's rows. Who was first in which mode is not told by them: those sums are by lesson, unit and group."""
    totals: dict[Cell, Counter[str]] = defaultdict(Counter)
    for row in snapshot.viewers.values():
        for lesson, mode in row.checkins:
            totals[Cell(lesson, mode, row.unit, row.group)]["checkins"] += 1
    return totals


def _totals(snapshot: Snapshot) -> Iterable[Difference]:
    expected = expected_totals(snapshot)
    for cell in expected.keys() | snapshot.totals.keys():
        wanted, sums = expected[cell]["checkins"], snapshot.totals.get(cell, Sums())
        if wanted != sums.checkins:
            sort = Sort.LOST if sums.checkins < wanted else Sort.DOUBLED
            yield Difference(sort, f"total of {tuple(cell)}: {sums.checkins}, checkin has {wanted}")
    yield from _firsts(snapshot)
    checkins = sum(len(row.checkins) for row in snapshot.viewers.values())
    people = sum(bool(row.checkins) for row in snapshot.viewers.values())
    claimed = sum(certificate.claimed for certificate in snapshot.certificates.values())
    sums_wanted = {
        "checkins": checkins,
        "viewers": people,
        "certificates_issued": len(snapshot.certificates),
        "certificates_claimed": claimed,
    }
    for name, answer in snapshot.answered.items():
        for key, wanted in sums_wanted.items():
            if answer.get(key) != wanted:
                yield Difference(Sort.DISAGREES, f"{name} answers {key} {answer.get(key, answer)}, it is {wanted}")


def _firsts(snapshot: Snapshot) -> Iterable[Difference]:
    """People by lesson, unit and group, and by unit and group: whoever was first, each is counted once."""
    wanted: Counter[tuple[object, ...]] = Counter()
    counted: Counter[tuple[object, ...]] = Counter()
    for row in snapshot.viewers.values():
        wanted.update((lesson, row.unit, row.group) for lesson in {lesson for lesson, _ in row.checkins})
        wanted[row.unit, row.group] += bool(row.checkins)
    for cell, sums in snapshot.totals.items():
        counted[cell.lesson, cell.unit, cell.group] += sums.first_for_lesson
        counted[cell.unit, cell.group] += sums.first_for_campaign
    for key in wanted.keys() | counted.keys():
        if wanted[key] != counted[key]:
            yield Difference(Sort.DISAGREES, f"people of {key}: counted {counted[key]}, they are {wanted[key]}")


def _certificates(snapshot: Snapshot) -> Iterable[Difference]:
    """One for everybody who completed, known everywhere."""
    completed = {
        who for who, row in snapshot.viewers.items() if len({lesson for lesson, _ in row.checkins}) >= REQUIRED_DAYS
    }
    held = Counter(certificate.viewer for certificate in snapshot.certificates.values())
    for who in completed - held.keys():
        yield Difference(Sort.LOST, f"viewer {who} completed and has no certificate")
    for who in held.keys() - completed:
        yield Difference(Sort.DISAGREES, f"viewer {who} has a certificate and has not completed")
    for who, count in held.items():
        if count > 1:
            yield Difference(Sort.DOUBLED, f"viewer {who} has {count} certificates")
    serials = snapshot.certificates.keys()
    places = {
        "certificate's ledger": snapshot.issued_events,
        "reporting": Counter(serial for serial, (issued, _) in snapshot.holders.items() if issued),
        "notification": snapshot.announced,
    }
    for place, known in places.items():
        for serial in serials - known.keys():
            yield Difference(Sort.LOST, f"certificate {serial} is not known to {place}")
        for serial in known.keys() - serials:
            yield Difference(Sort.DISAGREES, f"{place} knows certificate {serial}, which does not exist")
        for serial, count in known.items():
            if count > 1:
                yield Difference(Sort.DOUBLED, f"certificate {serial}: {count} times in {place}")


def _claims(snapshot: Snapshot) -> Iterable[Difference]:
    claimed = {serial for serial, certificate in snapshot.certificates.items() if certificate.claimed}
    for identity, outcome in snapshot.told.items():
        what, _, serial = identity.partition(" ")
        if what == "claim" and outcome is Outcome.OK and serial not in claimed:
            yield Difference(Sort.LOST, f"{identity}: accepted, and not claimed")
        if what == "claim" and outcome is Outcome.REFUSED and serial in claimed:
            yield Difference(Sort.REFUSED_COUNTED, f"{identity}: refused, and claimed")
    places = {
        "certificate's ledger": snapshot.claimed_events,
        "reporting": Counter(serial for serial, (_, is_claimed) in snapshot.holders.items() if is_claimed),
    }
    for place, known in places.items():
        for serial in claimed - known.keys():
            yield Difference(Sort.LOST, f"the claim of {serial} is not known to {place}")
        for serial in known.keys() - claimed:
            yield Difference(Sort.DISAGREES, f"{place} says that {serial} was claimed, it was not")
        for serial, count in known.items():
            if count > 1:
                yield Difference(Sort.DOUBLED, f"the claim of {serial}: {count} times in {place}")
    for key, number in (("issued", len(snapshot.certificates)), ("claimed", len(claimed))):
        if snapshot.counted[key] != number:
            yield Difference(Sort.DISAGREES, f"reporting sums up {snapshot.counted[key]} {key}, they are {number}")


def _messages(snapshot: Snapshot) -> Iterable[Difference]:
    """A text for every certificate whose holder told a phone, to that phone, once."""
    wanted = {
        serial: phone(certificate.viewer)
        for serial, certificate in snapshot.certificates.items()
        if any(map(tells_phone, snapshot.enrolments.get(certificate.viewer, [])))
    }
    sent = Counter(snapshot.messages)
    for serial, to in wanted.items():
        if not sent[serial, to] and serial not in snapshot.scheduled:
            yield Difference(Sort.LOST, f"no text about {serial} to {to}")
    for (serial, to), count in sent.items():
        if serial not in snapshot.certificates:
            yield Difference(Sort.DISAGREES, f"a text to {to} names certificate {serial}, which does not exist")
        elif wanted.get(serial) != to:
            yield Difference(Sort.DISAGREES, f"a text about {serial} went to {to} instead of {wanted.get(serial)}")
        if count > 1:
            yield Difference(Sort.DOUBLED, f"{count} texts about {serial} to {to}")


def _left_over(snapshot: Snapshot) -> Iterable[Difference]:
    for service, count in snapshot.parked.items():
        if count:
            yield Difference(Sort.LEFT_OVER, f"{count} dead letters in {service}")
    for session in snapshot.leaked:
        yield Difference(Sort.LEFT_OVER, f"a transaction that nobody ends: {session}")
