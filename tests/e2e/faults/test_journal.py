"""What the journal says of an identity that was sent several times, and of a stream that was deleted."""

from pathlib import Path

import pytest

from tests.e2e.faults.journal import Journal, Outcome, outcomes, read

OK, REFUSED, UNKNOWN = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("tries", "became"),
    [
        ([OK], OK),
        ([REFUSED], REFUSED),
        ([UNKNOWN], UNKNOWN),
        ([UNKNOWN, OK], OK),
        ([OK, REFUSED], OK),
        ([UNKNOWN, REFUSED], UNKNOWN),
        ([REFUSED, UNKNOWN], UNKNOWN),
        ([None], UNKNOWN),  # begun, and never heard of again
        ([None, REFUSED], UNKNOWN),
    ],
)
def test_the_most_certain_success_counts(tmp_path: Path, tries: list[Outcome | None], became: Outcome) -> None:
    journal = Journal(tmp_path / "journal")
    for outcome in tries:
        number = journal.begin("post", "checkin-a", ["checkin v1 0 live"])
        if outcome is not None:
            journal.end(number, [outcome])
    journal.close()
    assert outcomes(read(journal.path)) == {"checkin v1 0 live": became}


def test_what_was_unread_in_a_deleted_stream_is_unknown(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for identity, place in (("read", [0, 7]), ("unread", [0, 8]), ("sent later", [1, 8])):
        journal.end(journal.begin("publish", "nats", [identity]), [OK], live=place)
    journal.live_deleted(generation=0, floor=7)
    journal.close()
    assert outcomes(read(journal.path)) == {"read": OK, "unread": UNKNOWN, "sent later": OK}
