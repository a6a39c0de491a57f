"""Rules that neither ruff nor import-linter can say, over the syntax trees; `make lint` runs `python -m checks.house_rules`.

1. SQL of a service stands in `store.py` or, where that is long, in the folder `store/`, and in `erasure.py` (what is forgotten
   of a person is one list); of shared in the modules of SQL_OF_SHARED. Seen by method (`tx.fetch(…)`) and by text ("SELECT …"),
   so that a constant handed on is seen too.
2. A test patches nothing by name: what it wants to change is passed in (a limit, a function, a deployment).
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

METHODS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "change", "copy_records"}  # of a Transaction
STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT INTO\s|UPDATE \w+ SET\s|DELETE FROM\s|WITH \w+ AS\s|(CREATE|ALTER|DROP) TABLE\s)"
)
MOCK = re.compile(r"^unittest\.mock\b")
SQL_OF_SERVICES = {"store.py", "erasure.py"}
SQL_OF_SHARED = {
    "shared/bus/dead_letters.py": "owns dead_letter",
    "shared/bus/inbox.py": "owns inbox",
    "shared/bus/outbox.py": "owns outbox",
    "shared/database/heartbeat.py": "owns heartbeat",
    "shared/database/migrate.py": "asks for the schema's version, takes the lock of migrations",
    "shared/database/schema.py": "tables that every service has",
    "shared/database/transactions.py": "is what runs it",
    "shared/definitions.py": "owns the definitions in force",
    "shared/people/campaign_keys.py": "owns campaign_key",
    "shared/people/erasure.py": "erases in outbox and dead_letter",
    "shared/people/sessions.py": "owns person_generation and ended_session",
    "shared/service/measured.py": "SET LOCAL before the queries of a service's store",
    "shared/service/wrong_tries.py": "owns wrong_try",
}

Offence = tuple[int, str]  # line, what is wrong


def sql(tree: ast.AST) -> Iterator[Offence]:
    """Statements and what runs them, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield node.lineno, f".{node.func.attr}() outside store.py: all SQL of a service is there"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            yield node.lineno, "an SQL statement outside store.py: all SQL of a service is there"


def patches(tree: ast.AST) -> Iterator[Offence]:
    """Names that a test exchanges from outside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            yield node.lineno, "patched by name: pass the limit or the function in"
        if isinstance(node, ast.Import | ast.ImportFrom) and any(map(MOCK.search, _imported(node))):
            yield node.lineno, "unittest.mock: a fake that keeps what it was given says more"


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return [f"{within}{name.name}" for name in node.names]


def may_have_sql(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    in_service = path.startswith("services/") and (name in SQL_OF_SERVICES or folder.endswith("/store"))
    return path in SQL_OF_SHARED or "/migrations/" in path or in_service


def offences(sources: Mapping[str, str]) -> list[str]:
    """`sources` by path from the root; one line per offence."""
    offending: list[str] = []
    for path, text in sources.items():
        tree = ast.parse(text)
        if path.startswith(("services/", "shared/")) and not may_have_sql(path):
            offending += [f"{path}:{line}: {what}" for line, what in sql(tree)]
        if path.startswith("tests/"):
            offending += [f"{path}:{line}: {what}" for line, what in patches(tree)]
        if path in SQL_OF_SHARED and not any(sql(tree)):
            offending.append(f"{path}: has no SQL any more; take it off the list in checks/house_rules.py")
    return offending + [f"{path}: is gone; take it off the list" for path in SQL_OF_SHARED if path not in sources]


def main() -> int:
    paths = [path for folder in ("services", "shared", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    offending = offences({path.relative_to(ROOT).as_posix(): path.read_text() for path in paths})
    sys.stderr.writelines(f"{line}\n" for line in offending)
    return 1 if offending else 0


if __name__ == "__main__":
    raise SystemExit(main())
