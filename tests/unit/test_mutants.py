"""The changes that `make mutants` makes are those that it says, and its named mistakes are noticed."""

import ast
import subprocess
import sys

import pytest

from checks.mutants import ROOT
from checks.mutations import mutations

SOURCE = '''
class Status(StrEnum):
    QUEUED = "queued"
    FAILED = "failed"

LIMIT: Final[dict[str, int]] = {"a": 7, "b": 8}

@cached
def judge(value: int, strict: bool = True) -> Status:
    """Says 1 thing."""
    if value < LIMIT["a"] and strict:
        raise ValueError(f"{value + 1}")
    return Status.FAILED if not strict else fold(-value)
'''
CHANGES = [
    ("LIMIT: Final[dict[str, int]] = {'a': 7, 'b': 8}", "LIMIT: Final[dict[str, int]] = {'b': 8}"),
    ("LIMIT: Final[dict[str, int]] = {'a': 7, 'b': 8}", "LIMIT: Final[dict[str, int]] = {'a': 7}"),
    ("LIMIT: Final[dict[str, int]] = {'a': 7, 'b': 8}", "LIMIT: Final[dict[str, int]] = {'a': 8, 'b': 8}"),
    ("LIMIT: Final[dict[str, int]] = {'a': 7, 'b': 8}", "LIMIT: Final[dict[str, int]] = {'a': 7, 'b': 9}"),
    ("@cached", "def judge(value: int, strict: bool=True) -> Status:"),
    ("def judge(value: int, strict: bool=True) -> Status:", "def judge(value: int, strict: bool=False) -> Status:"),
    ("raise ValueError(f'{value + 1}')", "pass"),
    ("if value < LIMIT['a'] and strict:", "if value < LIMIT['a'] or strict:"),
    ("if value < LIMIT['a'] and strict:", "if True and strict:"),
    ("if value < LIMIT['a'] and strict:", "if value < LIMIT['a'] and True:"),
    ("if value < LIMIT['a'] and strict:", "if value <= LIMIT['a'] and strict:"),
    ("if value < LIMIT['a'] and strict:", "if value >= LIMIT['a'] and strict:"),
    ("return Status.FAILED if not strict else fold(-value)", "return None"),
    (
        "return Status.FAILED if not strict else fold(-value)",
        "return Status.FAILED if not not strict else fold(-value)",
    ),
    ("return Status.FAILED if not strict else fold(-value)", "return Status.QUEUED if not strict else fold(-value)"),
    ("return Status.FAILED if not strict else fold(-value)", "return Status.FAILED if not strict else fold(+value)"),
]


def test_numbers_operators_members_entries_and_lines_are_changed_one_at_a_time_and_texts_and_types_are_not() -> None:
    tree = ast.parse(SOURCE)
    assert list(mutations(tree)) == CHANGES
    assert ast.unparse(tree) == ast.unparse(ast.parse(SOURCE))


@pytest.mark.long
@pytest.mark.parametrize("which", ["--kinds", "--changed"])
def test_mistakes_that_somebody_could_make_are_noticed(which: str) -> None:
    done = subprocess.run([sys.executable, "-m", "checks.mutants", which], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
