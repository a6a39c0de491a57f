"""Whose name and phone may not be kept (FACTS, "Viewers and the law"): every history of three enrolments, in every order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest

from services.checkin.minors import Past, withdrawn, without_contact

NOON = datetime(2024, 6, 29, 4, tzinfo=UTC)
CHILD, ADULT, NONE = "pupil", "general", "unassigned"


def past(number: int, group: str, consent: bool = False, has_contact: bool = True) -> Past:
    return Past("a", NOON + timedelta(hours=number), f"e-{number}", "11", group, consent, has_contact)


def barred(*groups: str) -> list[str]:
    """The ids of the barred enrolments of a viewer who enrols in these groups, one after the other. `pupil+`: with consent."""
    history = [past(number, group.rstrip("+"), group.endswith("+")) for number, group in enumerate(groups, 1)]
    return [enrolment.enrolment_id for enrolment in without_contact(history, {CHILD})]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([CHILD], ["e-1"]),
        ([f"{CHILD}+"], []),
        ([ADULT], []),
        ([NONE], []),
        ([ADULT, ADULT], []),
        ([CHILD, NONE], ["e-1", "e-2"]),  # names no group: still a child
        ([NONE, CHILD], ["e-1", "e-2"]),  # told before the group was known
        ([NONE, f"{CHILD}+"], ["e-1"]),
        ([f"{CHILD}+", CHILD], ["e-2"]),  # what was told with consent stays
        ([CHILD, ADULT], ["e-1"]),  # a wrong group put right: from then on kept
        ([ADULT, CHILD, ADULT], ["e-1", "e-2"]),
        ([f"{ADULT}+", CHILD], ["e-2"]),
    ],
)
def test_a_minors_contact_needs_consent(groups: list[str], expected: list[str]) -> None:
    assert barred(*groups) == expected


def test_an_enrolment_is_known_by_its_viewer_and_its_id() -> None:
    assert past(1, CHILD).key == ("a", "e-1")


def test_the_order_of_arrival_makes_no_difference() -> None:
    for groups in product((CHILD, ADULT, NONE), repeat=3):
        for consents in product((True, False), repeat=3):
            history = [past(n, group, consent) for n, (group, consent) in enumerate(zip(groups, consents, strict=True))]
            answers = {tuple(without_contact(order, {CHILD})) for order in permutations(history)}
            assert len(answers) == 1


def test_what_is_withdrawn_is_the_latest_that_others_may_have() -> None:
    told, later, blank = past(1, NONE), past(2, CHILD), past(3, CHILD, has_contact=False)
    assert withdrawn([told, later, blank]) == [later]
    assert withdrawn([blank]) == []
    other = told._replace(viewer_id="b")
    assert withdrawn([told, other]) == [told, other]
