"""Each step that is missing between an event's class and its effect is named (checks/wiring.py)."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from checks import wiring
from shared.bus.topology import DURABLES
from shared.contracts.base import Event
from shared.contracts.notification import NotificationKeyMadeV1
from shared.contracts.registry import EVENTS

OWNER = "notification"
EVENT = NotificationKeyMadeV1


class LessonForgottenV1(Event):
    """Nobody knows it."""

    OWNER: ClassVar[str] = OWNER
    FACT: ClassVar[str] = "lesson_forgotten"


def document(*, sends: tuple[str, ...] = (), receives: tuple[str, ...] = ()) -> dict[str, Any]:
    operations = {
        f"{action} {subject}": {"action": action, "channel": {"$ref": f"#/channels/{subject}"}}
        for action, subjects in (("send", sends), ("receive", receives))
        for subject in subjects
    }
    return {"operations": operations, "channels": {subject: {"address": subject} for subject in (*sends, *receives)}}


def test_a_class_that_is_not_listed() -> None:
    assert wiring.unlisted({*EVENTS, LessonForgottenV1}, EVENTS) == [
        "LessonForgottenV1: not in EVENTS of shared/contracts/registry.py"
    ]


def test_an_event_with_one_example(tmp_path: Path) -> None:
    (tmp_path / "lesson_forgotten.v1.typical.json").write_text("{}")
    (complaint,) = wiring.without_examples(LessonForgottenV1, tmp_path)
    assert complaint.startswith("LessonForgottenV1: 1 examples")
    (tmp_path / "lesson_forgotten.v1.longest_ids.json").write_text("{}")
    assert wiring.without_examples(LessonForgottenV1, tmp_path) == []


@pytest.mark.parametrize(
    ("producers", "found"),
    [
        ((), "declared by nobody"),
        (("checkin",), "declared by checkin"),
        (("checkin", OWNER), "declared by checkin and notif"),
    ],
)
def test_an_event_that_its_owner_alone_does_not_declare(producers: tuple[str, ...], found: str) -> None:
    documents = {service: document(sends=(EVENT.subject(),)) for service in producers}
    (complaint,) = wiring.without_producer(EVENT, documents | {"reporting": document()})
    assert found in complaint


def test_an_event_that_is_declared_and_never_made(tmp_path: Path) -> None:
    service = tmp_path / "services" / OWNER
    service.mkdir(parents=True)
    (service / "app.py").write_text("from x import NotificationKeyMadeV1\nbus.declares(NotificationKeyMadeV1)\n")
    (complaint,) = wiring.never_made(EVENT, tmp_path)
    assert "nothing in services/notification/ makes one" in complaint
    (service / "usecases.py").write_text("made = NotificationKeyMadeV1(event_id=1)\n")
    assert wiring.never_made(EVENT, tmp_path) == []


def test_an_event_that_nobody_reads() -> None:
    (complaint,) = wiring.without_reader([*EVENTS, LessonForgottenV1], DURABLES)
    assert complaint.startswith("LessonForgottenV1: nobody reads it")


def test_a_durable_without_a_handler() -> None:
    durable = next(durable for durable in DURABLES if durable.reads is EVENT)
    (complaint,) = wiring.unread([durable], {durable.service: document()})
    assert f'has no @consume(…, NotificationKeyMadeV1, durable="{durable.name}")' in complaint
    assert list(wiring.unread([durable], {durable.service: document(receives=(durable.subject,))})) == []


def test_an_event_that_a_readme_does_not_name(tmp_path: Path) -> None:
    durable = next(durable for durable in DURABLES if durable.reads is EVENT)
    for service, text in ((OWNER, "Out: `NotificationKeyMadeV1`."), (durable.service, "In: nothing.")):
        (tmp_path / "services" / service).mkdir(parents=True)
        (tmp_path / "services" / service / "README.md").write_text(text)
    (complaint,) = wiring.not_told(EVENT, [durable], tmp_path)
    assert complaint.startswith(f"NotificationKeyMadeV1: services/{durable.service}/README.md")


def test_permissions_of_before() -> None:
    assert wiring.not_permitted(wiring.PERMISSIONS.read_text() + "#") != []
