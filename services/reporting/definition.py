"""A campaign's definition as reporting needs it: the unit tree, lessons, groups and credit policy; joined when read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from shared.contracts.base import Mode
from shared.contracts.campaign import CampaignRules, Unit
from shared.definitions import InForce
from shared.tree import Tree


@dataclass(frozen=True)
class Definition:
    """A campaign's definition in force. Before it has arrived (`UNDEFINED`) figures have no names and no credit policy."""

    revision: int = 0
    title: str = ""
    credit: frozenset[Mode] | None = None
    lessons: dict[date, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    platforms: dict[str, str] = field(default_factory=dict)
    tree: Tree = field(default_factory=Tree)
    zone: tzinfo = UTC
    rules: CampaignRules | None = None  # of a definition that has arrived
    units: Sequence[Unit] = ()  # in administrative order

    @classmethod
    def of(cls, in_force: InForce) -> "Definition":
        return cls(
            revision=in_force.revision,
            title=in_force.rules.title,
            credit=frozenset(in_force.rules.credit),
            lessons={lesson.date: lesson.title for lesson in in_force.rules.lessons},
            groups={group.code: group.name for group in in_force.rules.groups},
            platforms={platform.source: platform.title for platform in in_force.rules.platforms},
            tree=Tree(in_force.units),
            zone=in_force.rules.zone,
            rules=in_force.rules,
            units=in_force.units,
        )

    @property
    def keeps_people_until(self) -> datetime | None:
        """Then names and phones of the campaign's people go, as `retain_days` says; None before the definition has arrived."""
        if self.rules is None:
            return None
        return self.rules.at(self.rules.last_day, "24:00") + timedelta(days=self.rules.retain_days)


UNDEFINED = Definition()
