"""This version can do what a campaign may ask for: every kind of message has a planner, and every channel a sender."""

from pathlib import Path

from services.notification.app import build_channels
from services.notification.plans.kinds import KINDS
from shared.contracts.campaign import CHANNELS, MESSAGE_EVENTS
from tests.support.notification import new_settings


def test_every_kind_that_a_message_rule_may_name_is_planned() -> None:
    assert set(KINDS) == set(MESSAGE_EVENTS)


def test_every_channel_that_a_message_rule_may_name_is_there(tmp_path: Path) -> None:
    assert set(build_channels(new_settings("postgresql://nowhere", tmp_path))) == set(CHANNELS)
