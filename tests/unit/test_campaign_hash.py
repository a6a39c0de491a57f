"""The content hash of a definition is stored: a definition that has not changed keeps its hash, and so its revision, for ever."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from cli.campaign_file import load
from shared.contracts.campaign import CampaignDefinition, Lesson, Part, added_later
from tests.support.campaigns import campaign_content

JINSHAN = (
    Path(__file__).parent.parent / "fixtures" / "jinshan-2024.yaml"
)  # has every part of the first version; it never changes
HASH = "597362f49349f9b884be5945e53ca446f07d1bda94d57fae3ebb56831a645397"


class Prize(Part):
    name: str


class LaterLesson(Lesson):
    minutes: Annotated[int, Field(ge=1, le=600)] = added_later(30)


class LaterDefinition(CampaignDefinition):
    """As a later version may have it: a new part, and a new key in a part that there was."""

    lessons: tuple[LaterLesson, ...]
    prizes: tuple[Prize, ...] = added_later(())


class Forgetful(CampaignDefinition):
    prizes: tuple[Prize, ...] = ()


def later(**changes: object) -> LaterDefinition:
    return LaterDefinition.model_validate(campaign_content(**changes))


def test_the_definition_of_jinshan_has_the_hash_that_it_always_had() -> None:
    """Red: a key was added, renamed or given another default. A new one is `added_later`; another meaning needs another key."""
    assert load(JINSHAN).content_hash() == HASH


def test_a_later_key_at_its_default_is_not_in_the_hash() -> None:
    content = load(JINSHAN).model_dump(mode="json")
    assert LaterDefinition.model_validate(content).content_hash() == HASH
    assert LaterDefinition.model_validate(content | {"prizes": []}).content_hash() == HASH
    assert Forgetful.model_validate(content).content_hash() != HASH


def test_a_later_key_that_says_something_is_in_the_hash_and_survives_json() -> None:
    plain, prizes = later(), later(prizes=[{"name": "保温杯"}])
    longer = later(lessons=[lesson | {"minutes": 45} for lesson in campaign_content()["lessons"]])
    assert len({plain.content_hash(), prizes.content_hash(), longer.content_hash()}) == 3
    for definition in (plain, prizes, longer):
        assert LaterDefinition.model_validate_json(definition.model_dump_json()) == definition


def test_a_later_key_is_checked_like_any_other() -> None:
    with pytest.raises(ValidationError, match="minutes"):
        later(lessons=[lesson | {"minutes": 0} for lesson in campaign_content()["lessons"]])
