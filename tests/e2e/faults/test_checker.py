"""The checker finds what is planted: each way to lose, double, invent or forget something is a difference of its sort."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.e2e.faults.checker import Sort, check
from tests.e2e.faults.course import phone
from tests.e2e.faults.journal import Outcome
from tests.e2e.faults.snapshot import Cell, Certificate, Snapshot, Sums, Viewer

SERIAL, OTHER = "AAAA-BBBB-CCCC", "DDDD-EEEE-FFFF"
FIRST, SECOND, STRANGE = "checkin v1 0 live", "checkin v1 1 replay", "checkin v1 2 live"
UNSURE, NO = "checkin v2 0 live", "checkin v2 1 live"
ENROLLED = "enrolment v1 e1-phone"


def sound() -> Snapshot:
    """v1 completed, was texted and claimed; v2 has one check-in that nobody was sure of, and one that was refused."""
    return Snapshot(
        told={
            FIRST: Outcome.OK,
            SECOND: Outcome.OK,
            ENROLLED: Outcome.OK,
            UNSURE: Outcome.UNKNOWN,
            NO: Outcome.REFUSED,
            f"claim {SERIAL}": Outcome.OK,
        },
        viewers={
            "v1": Viewer(frozenset({(0, "live"), (1, "replay")}), "111", "student", "e1-phone"),
            "v2": Viewer(frozenset({(0, "live")}), "unassigned", "unassigned", None),
        },
        enrolments={"v1": ["e1-phone"]},
        ledger=Counter({FIRST: 1, SECOND: 1, ENROLLED: 1, UNSURE: 1}),
        totals={
            Cell(0, "live", "111", "student"): Sums(1, 1, 1),
            Cell(1, "replay", "111", "student"): Sums(1, 1, 0),
            Cell(0, "live", "unassigned", "unassigned"): Sums(1, 1, 1),
        },
        answered={
            "reporting-a": {"checkins": 3, "viewers": 2, "certificates_issued": 1, "certificates_claimed": 1},
        },
        counted=Counter(issued=1, claimed=1),
        holders={SERIAL: (True, True)},
        certificates={SERIAL: Certificate("v1", claimed=True)},
        issued_events=Counter([SERIAL]),
        claimed_events=Counter([SERIAL]),
        announced=Counter([SERIAL]),
        messages=[(SERIAL, phone("v1"))],
        parked={"checkin": 0},
    )


def test_a_sound_run_has_no_differences() -> None:
    assert check(sound()) == []


def test_an_unknown_operation_may_also_have_left_nothing() -> None:
    snapshot = sound()
    del snapshot.viewers["v2"], snapshot.ledger[UNSURE], snapshot.totals[Cell(0, "live", "unassigned", "unassigned")]
    snapshot.answered["reporting-a"] |= {"checkins": 2, "viewers": 1}
    assert check(snapshot) == []


def test_a_text_that_is_due_later_may_still_be_missing() -> None:
    snapshot = sound()
    snapshot.messages.clear()
    snapshot.scheduled.add(SERIAL)
    assert check(snapshot) == []


def _lose_a_checkin(snapshot: Snapshot) -> None:
    del snapshot.ledger[FIRST]


def _double_a_checkin(snapshot: Snapshot) -> None:
    snapshot.ledger[FIRST] = 2


def _double_an_unsure_one(snapshot: Snapshot) -> None:
    snapshot.ledger[UNSURE] = 2


def _count_a_refused_one(snapshot: Snapshot) -> None:
    snapshot.ledger[NO] = 1


def _invent_a_checkin(snapshot: Snapshot) -> None:
    snapshot.ledger[STRANGE] = 1


def _lose_an_enrolment(snapshot: Snapshot) -> None:
    del snapshot.ledger[ENROLLED]


def _lose_a_viewers_bit(snapshot: Snapshot) -> None:
    snapshot.viewers["v1"] = snapshot.viewers["v1"]._replace(checkins=frozenset({(0, "live")}))


def _keep_an_old_enrolment(snapshot: Snapshot) -> None:
    snapshot.enrolments["v1"].append("e2")
    snapshot.ledger["enrolment v1 e2"] = 1
    snapshot.told["enrolment v1 e2"] = Outcome.OK


def _total_too_low(snapshot: Snapshot) -> None:
    snapshot.totals[Cell(0, "live", "111", "student")] = Sums(0, 1, 1)


def _total_too_high(snapshot: Snapshot) -> None:
    snapshot.totals[Cell(2, "live", "112", "general")] = Sums(1, 0, 0)


def _people_counted_twice(snapshot: Snapshot) -> None:
    snapshot.totals[Cell(1, "replay", "111", "student")] = Sums(1, 1, 1)


def _wrong_answer(snapshot: Snapshot) -> None:
    snapshot.answered["reporting-a"]["viewers"] = 3


def _no_certificate(snapshot: Snapshot) -> None:
    snapshot.certificates.clear()


def _two_certificates(snapshot: Snapshot) -> None:
    snapshot.certificates[OTHER] = Certificate("v1", claimed=False)


def _certificate_for_nothing(snapshot: Snapshot) -> None:
    snapshot.certificates[OTHER] = Certificate("v2", claimed=False)


def _certificate_not_announced(snapshot: Snapshot) -> None:
    snapshot.announced.clear()


def _certificate_unknown_to_reporting(snapshot: Snapshot) -> None:
    snapshot.holders.clear()


def _announced_and_not_there(snapshot: Snapshot) -> None:
    snapshot.announced[OTHER] = 1


def _claim_lost(snapshot: Snapshot) -> None:
    snapshot.certificates[SERIAL] = Certificate("v1", claimed=False)


def _claim_published_twice(snapshot: Snapshot) -> None:
    snapshot.claimed_events[SERIAL] = 2


def _refused_claim_counted(snapshot: Snapshot) -> None:
    snapshot.told[f"claim {SERIAL}"] = Outcome.REFUSED


def _claims_summed_up_wrongly(snapshot: Snapshot) -> None:
    snapshot.counted["claimed"] = 2


def _no_text(snapshot: Snapshot) -> None:
    snapshot.messages.clear()


def _two_texts(snapshot: Snapshot) -> None:
    snapshot.messages *= 2


def _text_to_somebody_else(snapshot: Snapshot) -> None:
    snapshot.messages[0] = (SERIAL, phone("v2"))


def _text_about_nothing(snapshot: Snapshot) -> None:
    snapshot.messages.append((OTHER, phone("v1")))


def _dead_letter(snapshot: Snapshot) -> None:
    snapshot.parked["checkin"] = 1


def _leaked_transaction(snapshot: Snapshot) -> None:
    snapshot.leaked.append("fanzha_checkin idle in transaction")


PLANTED: list[tuple[Callable[[Snapshot], None], Sort]] = [
    (_lose_a_checkin, Sort.LOST),
    (_double_a_checkin, Sort.DOUBLED),
    (_double_an_unsure_one, Sort.DOUBLED),
    (_count_a_refused_one, Sort.REFUSED_COUNTED),
    (_invent_a_checkin, Sort.DISAGREES),
    (_lose_an_enrolment, Sort.LOST),
    (_lose_a_viewers_bit, Sort.DISAGREES),
    (_keep_an_old_enrolment, Sort.DISAGREES),
    (_total_too_low, Sort.LOST),
    (_total_too_high, Sort.DOUBLED),
    (_people_counted_twice, Sort.DISAGREES),
    (_wrong_answer, Sort.DISAGREES),
    (_no_certificate, Sort.LOST),
    (_two_certificates, Sort.DOUBLED),
    (_certificate_for_nothing, Sort.DISAGREES),
    (_certificate_not_announced, Sort.LOST),
    (_certificate_unknown_to_reporting, Sort.LOST),
    (_announced_and_not_there, Sort.DISAGREES),
    (_claim_lost, Sort.LOST),
    (_claim_published_twice, Sort.DOUBLED),
    (_refused_claim_counted, Sort.REFUSED_COUNTED),
    (_claims_summed_up_wrongly, Sort.DISAGREES),
    (_no_text, Sort.LOST),
    (_two_texts, Sort.DOUBLED),
    (_text_to_somebody_else, Sort.DISAGREES),
    (_text_about_nothing, Sort.DISAGREES),
    (_dead_letter, Sort.LEFT_OVER),
    (_leaked_transaction, Sort.LEFT_OVER),
]


@pytest.mark.parametrize(("plant", "sort"), PLANTED, ids=[plant.__name__.strip("_") for plant, _ in PLANTED])
def test_what_is_planted_is_found(plant: Callable[[Snapshot], None], sort: Sort) -> None:
    snapshot = deepcopy(sound())
    plant(snapshot)
    assert sort in {difference.sort for difference in check(snapshot)}
