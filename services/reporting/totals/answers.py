"""What reporting answers, and how figures become rows. Pure; the models are the OpenAPI document (DESIGN §5.2)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from services.reporting.definition import Definition
from services.reporting.totals.domain import (
    Certificates,
    Counts,
    Tally,
    TotalsLine,
    people,
    per_10k,
    share,
    small_groups,
)
from services.reporting.totals.questions import (
    By,
    LiveRoomBy,
    Question,
    listed_rows,
    name,
    order,
    residents,
    rows_of,
)
from shared.contracts.base import UNASSIGNED, Id, Mode
from shared.contracts.campaign import Residents

Checkins = Annotated[int, Field(description="签到人次: check-ins, late ones included, made-good lessons not")]
Late = Annotated[int, Field(description="of `checkins`, those received after the lesson was sealed: never credited")]
MadeGood = Annotated[int, Field(description="lessons granted by the office after an outage; no check-ins, no viewers")]
Credited = Annotated[
    int | None,
    Field(
        description="计入: check-ins of credited modes that are not late, plus `made_good`; null before the definition is known"
    ),
]
Issued = Annotated[
    int | None,
    Field(
        description="certificates not revoked, under the holder's present unit; null by lesson or mode, or with a filter"
    ),
]
Claimed = Annotated[int | None, Field(description="of those issued, the claimed (领取) ones; null as above")]


class TotalsRow(BaseModel):
    """One unit (by subtree with all below it), group, lesson, mode or platform."""

    key: str = Field(
        description="unit code, group code, lesson date, mode, or who sent the check-ins (a webhook's source, `bus`, `import` or "
        "what an import called it); `unassigned` for viewers nobody has attributed, and what came before sources were kept"
    )
    name: str | None = Field(description="null where the definition in force does not name the key")
    checkins: Checkins
    late: Late
    made_good: MadeGood
    credited: Credited
    viewers: int = Field(
        description="人数: people who checked in; by lesson or with `lesson`, in that lesson; by mode or with `mode`, equal to "
        "`checkins`"
    )
    certificates_issued: Issued
    certificates_claimed: Claimed
    per_10k: float | None = Field(
        description="`viewers` per 10,000 residents of the unit; null (shown as —) where its residents are not known or the row "
        "is only what is left above the asked level"
    )
    residents: Residents | None = Field(
        description="what `per_10k` divides by, with year and source; null where that is null"
    )


class TotalsSum(BaseModel):
    """All rows together, withheld ones included. Viewers are people: each counts once, however many lessons or rows."""

    checkins: Checkins
    late: Late
    made_good: MadeGood
    credited: Credited
    viewers: int = Field(
        description="people; with `lesson` those of that lesson, with `mode` equal to `checkins`; not the sum of rows by lesson"
    )
    certificates_issued: Issued
    certificates_claimed: Claimed
    attributed_share: float | None = Field(
        description="share of viewers that belongs to a unit of the tree, 0 to 1 (FACTS A3); null without viewers, and for a "
        "token of one unit, which sees only its own"
    )


class Totals(BaseModel):
    """Sums of all facts applied by `as_of`, which is in the campaign's time zone."""

    as_of: AwareDatetime
    campaign_id: Id
    by: By
    lesson: date | None
    mode: Mode | None
    rows: list[TotalsRow] = Field(
        description="units in administrative order, lessons by date, groups as the definition lists them; each that the "
        "definition names is there, with 0 where nothing came, `unassigned` and other codes only with figures"
    )
    sum: TotalsSum
    withheld: int = Field(
        description="groups left out: under 10 viewers, and the next smallest where the sum would tell them"
    )


class LiveRoomRow(BaseModel):
    """What viewers did in the live room besides checking in (FACTS A6). Times, not people."""

    key: str = Field(
        description="unit code, lesson date or item (which prize, account or quiz; empty where the platform did not say)"
    )
    name: str | None
    quiz_answered: int
    prize_won: int = Field(description="prizes handed out")
    account_followed: int


class LiveRoom(BaseModel):
    as_of: AwareDatetime
    campaign_id: Id
    by: LiveRoomBy
    lesson: date | None
    rows: list[LiveRoomRow]


# ---- rows ------------------------------------------------------------------------------------------------------------


def totals_rows(
    definition: Definition,
    question: Question,
    lines: Iterable[TotalsLine],
    certificates: Mapping[str, Certificates],
) -> list[TotalsRow]:
    """A row for everything that the definition names, and for every other key under which something was counted."""
    keys_of = rows_of(definition, question)
    tallies: dict[str, Tally] = {}
    for line in lines:
        for key in keys_of(line.key):
            tallies.setdefault(key, Tally()).add(line, definition.credit)
    held: dict[str, Certificates] = {}
    for code, number in certificates.items() if question.lists_certificates else ():
        for key in keys_of(code):
            held[key] = held.get(key, Certificates()).plus(number)
    keys = {key for key, tally in tallies.items() if any(tally.counts)} | held.keys()
    keys |= set(listed_rows(definition, question))
    rows = [_row(definition, question, key, tallies.get(key, Tally()), held.get(key, Certificates())) for key in keys]
    return sorted(rows, key=lambda row: order(definition, question, row.key))


def _row(definition: Definition, question: Question, key: str, tally: Tally, held: Certificates) -> TotalsRow:
    viewers = people(
        tally.counts,
        lesson=question.lesson is not None or question.by == "lesson",
        mode=question.mode is not None or question.by == "mode",
    )
    people_there = residents(definition, question, key)
    return TotalsRow(
        key=key,
        name=name(definition, question, key),
        checkins=tally.counts.checkins,
        late=tally.counts.late,
        made_good=tally.counts.made_good,
        credited=None if definition.credit is None else tally.credited,
        viewers=viewers,
        certificates_issued=held.issued if question.lists_certificates else None,
        certificates_claimed=held.claimed if question.lists_certificates else None,
        per_10k=per_10k(viewers, people_there.count) if people_there else None,
        residents=people_there,
    )


def totals_sum(
    definition: Definition, question: Question, units: Sequence[TotalsLine], certificates: Iterable[Certificates]
) -> TotalsSum:
    """The row of the total over all rows. `units`: the sums by unit code as sent."""
    tally = Tally()
    attributed = 0
    for line in units:
        tally.add(line, definition.credit)
        if line.key in definition.tree or (definition.revision == 0 and line.key != UNASSIGNED):
            attributed += _viewers(question, line.counts)
    viewers = _viewers(question, tally.counts)
    numbers = list(certificates)
    return TotalsSum(
        checkins=tally.counts.checkins,
        late=tally.counts.late,
        made_good=tally.counts.made_good,
        credited=None if definition.credit is None else tally.credited,
        viewers=viewers,
        certificates_issued=sum(number.issued for number in numbers) if question.sums_certificates else None,
        certificates_claimed=sum(number.claimed for number in numbers) if question.sums_certificates else None,
        attributed_share=share(attributed, viewers) if question.root is None else None,
    )


def _viewers(question: Question, counts: Counts) -> int:
    return people(counts, lesson=question.lesson is not None, mode=question.mode is not None)


def without_small_groups(rows: Sequence[TotalsRow]) -> tuple[list[TotalsRow], int]:
    """The rows of groups that may be shown outside the office, and how many groups are withheld because they are small (FACTS,
    "Viewers and the law"). Empty groups are left out too and are not counted as withheld, so nobody can tell an empty group
    from a small one."""
    filled = [row for row in rows if row.checkins or row.made_good or row.certificates_issued]
    withheld = small_groups({row.key: row.viewers for row in filled})
    return [row for row in filled if row.key not in withheld], len(withheld)


def live_room_rows(
    definition: Definition, question: Question, lines: Iterable[tuple[str, str, int]]
) -> list[LiveRoomRow]:
    """The rows of live-room figures. `lines`: (key, action, number of actions)."""
    keys_of = rows_of(definition, question)
    actions: dict[str, dict[str, int]] = {}
    for key, action, number in lines:
        for row_key in keys_of(key):
            row = actions.setdefault(row_key, {"quiz_answered": 0, "prize_won": 0, "account_followed": 0})
            row[action] += number
    return [
        LiveRoomRow(key=key, name=name(definition, question, key), **actions[key])
        for key in sorted(actions, key=lambda key: order(definition, question, key))
    ]
