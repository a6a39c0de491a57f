"""What the benchmark sends is what a live platform sends, and what it expects of it is right."""

from collections import Counter

import msgspec
import pytest

from bench import preload, workload
from services.checkin.live_events import read_body
from services.checkin.live_platform import Source
from shared.contracts.campaign import CampaignDefinition

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBiZW5jaG1hcms="


def test_the_campaign_is_valid_and_its_last_two_live_windows_can_be_checked_in_to() -> None:
    rules = CampaignDefinition.model_validate(workload.definition("c", 2))

    for lesson in (workload.LESSONS - 1, workload.LESSONS - 2):
        at = workload.checked_in_at(workload.Checkin(1, lesson))
        window = next(w for w in rules.timeline if w.opens_at <= at < w.closes_at)
        assert (window.lesson_index, window.mode) == (lesson, "live")
        assert at <= workload.CLOCK_AT < rules.sealed_at(lesson)


@pytest.mark.parametrize("per_post", [1, 7, 100])
def test_bodies_hold_every_check_in_once(per_post: int) -> None:
    traffic = workload.new_viewers("c", 1000, 160)

    items = [item for body in traffic.bodies(per_post) for item in read_body(body)]

    sent = Counter((item.event.viewer_id, item.event.occurred_at) for item in items if item.event)
    expected = Counter(
        (workload.viewer_id(checkin.viewer), workload.checked_in_at(checkin)) for checkin in traffic.checkins
    )
    assert sent == expected
    assert len(items) == 160


def test_one_check_in_of_sixteen_completes_a_course() -> None:
    traffic = workload.new_viewers("c", 0, 160)

    lessons = Counter(checkin.viewer for checkin in traffic.checkins)
    assert {viewer for viewer, n in lessons.items() if n == 2} == set(traffic.completed)
    assert len(traffic.completed) == 10
    assert traffic.totals().total() == 160


def test_the_first_of_some_traffic_knows_who_completes_in_it() -> None:
    traffic = workload.new_viewers("c", 0, 1600)

    some = traffic.first(900)

    assert len(some) == 900
    assert 0 < len(some.completed) < len(traffic.completed)
    assert some.completed <= traffic.completed


def test_totals_follow_units_and_groups_of_enrolled_viewers() -> None:
    traffic = workload.new_viewers("c", 0, 1600, enrolled=True)

    totals = traffic.totals()

    assert totals.total() == 1600
    assert len({unit for _, unit, _ in totals}) > 50
    assert workload.UNASSIGNED not in {unit for _, unit, _ in totals}


def test_a_signature_is_one_that_the_service_accepts() -> None:
    body = b'{"event_id": "e"}'

    head = workload.Signer(SECRET).head("127.0.0.1:1", "m-1", _now(), body).decode()

    lines = head.strip().split("\r\n")[1:]
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    assert Source(verifier="standard", secrets=[SECRET]).signed(headers, body)
    assert int(headers["content-length"]) == len(body)


def test_enrolments_are_read_with_their_contacts() -> None:
    bodies = list(workload.enrolment_bodies("c", range(5, 12), 4))

    items = [item for body in bodies for item in read_body(body)]

    assert len(bodies) == 2
    assert [item.event.phone for item in items if item.event] == [workload.phone_of(n) for n in range(5, 12)]
    assert all(item.event and item.event.name for item in items)


def test_endless_bodies_go_on_where_they_are_told() -> None:
    first, second = workload.endless("c", 100, 2, 3)

    ids = [event["viewer_id"] for event in msgspec.json.decode(first) + msgspec.json.decode(second)]
    assert ids == [workload.viewer_id(number) for number in range(100, 106)]


def test_in_a_course_every_viewer_has_a_turn_in_each_lesson_and_each_time_in_another_order() -> None:
    posts = [msgspec.json.decode(body) for body in workload.course("c", 101, 3, 10)]

    orders = [[event["viewer_id"] for post in posts[first : first + 11] for event in post] for first in (0, 11, 22)]
    everyone = sorted(workload.viewer_id(number) for number in range(101))
    assert all(sorted(order) == everyone for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert len({event["event_id"] for post in posts for event in post}) == 303


def test_a_preloaded_campaign_lacks_one_lesson_of_every_sixteenth_viewer() -> None:
    loaded = preload.Preloaded("c", 320, 16)

    assert loaded.totals.total() == 320 * 16 - 20
    assert loaded.completed == 300
    assert preload.checkins(loaded, range(320)).completed == frozenset(range(0, 320, 16))
    everybody = preload.Preloaded("c", 320, 1)
    assert (everybody.totals.total(), everybody.completed) == (320 * 15, 0)
    assert preload.checkins(everybody, range(320)).completed == frozenset(range(320))


def _now() -> str:
    import time

    return str(int(time.time()))
