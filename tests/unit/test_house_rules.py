"""The rules of checks/house_rules.py see each offence, and not what is allowed."""

import pytest

from checks.house_rules import SQL_OF_SHARED, offences

KEPT = {path: 'tx.fetch("SELECT 1")' for path in SQL_OF_SHARED}
HERE = "outside store.py"


def offending(path: str, text: str) -> list[str]:
    return offences({**KEPT, path: text})


@pytest.mark.parametrize(
    "text",
    [
        "async def add(tx):\n    await tx.execute(ADD)",
        "rows = await transaction.fetch(sql, 1)",
        'ADD = "INSERT INTO total VALUES (1)"',
        'ADD = f"""\n    WITH given AS (SELECT {columns})\n"""',
    ],
)
def test_sql_stands_in_store(text: str) -> None:
    assert [line.partition(":")[0] for line in offending("services/reporting/totals/usecases.py", text)] == [
        "services/reporting/totals/usecases.py"
    ]
    assert offending("services/reporting/totals/store.py", text) == []
    assert offending("services/checkin/store/counts.py", text) == []
    assert offending("services/checkin/api/viewers.py", text) != []
    assert offending("services/reporting/erasure.py", text) == []
    assert offending("services/reporting/migrations/0001_initial.py", text) == []
    assert offending("cli/ledger_commands.py", text) == []  # an operator's commands ask what they like


def test_a_module_of_shared_that_is_not_named_has_none() -> None:
    assert offending("shared/paging.py", 'await tx.fetch("SELECT 1")') == [
        "shared/paging.py:1: .fetch() outside store.py: all SQL of a service is there",
        "shared/paging.py:1: an SQL statement outside store.py: all SQL of a service is there",
    ]


def test_a_list_of_what_is_allowed_says_what_is_there() -> None:
    path = next(iter(SQL_OF_SHARED))
    assert offences({**KEPT, path: "x = 1"}) == [
        f"{path}: has no SQL any more; take it off the list in checks/house_rules.py"
    ]
    assert offences({key: text for key, text in KEPT.items() if key != path}) == [
        f"{path}: is gone; take it off the list"
    ]


@pytest.mark.parametrize(
    "text",
    [
        'monkeypatch.setattr(outbox, "QUEUE_MAX", 2)',
        'patching.setattr("shared.bus.outbox.QUEUE_MAX", 2)',
        "from unittest import mock",
        "from unittest.mock import patch",
        "import unittest.mock",
    ],
)
def test_a_test_patches_nothing_by_name(text: str) -> None:
    assert len(offending("tests/unit/test_house_rules.py", text)) == 1
    assert offending("tests/unit/test_house_rules.py", 'monkeypatch.setenv("CLOCK_AT", "")') == []
