"""Files that documents, docstrings and comments name are there, and so are the names in docs/walk.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_citations import REPOSITORY, prose, tracked

FILES = tracked()
ROOMS = {path.relative_to(REPOSITORY).parts[0] for path in FILES if path.parent != REPOSITORY}
BASENAMES = {path.name for path in FILES}
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]

# Named, and not in a checkout: written by a command, or given as an example of what could be.
NOT_HERE = {
    "campaigns/*.json",  # in a backup
    "campaigns/你的活动.yaml",  # yours
    "send.py",  # the reader's copy of an example
    "keys/<service>/<campaign>.json",
    "keys/<服务>/<活动>.json",
    "manifest.json",
    "services/certificate/fonts/",  # where docs/decisions/certificate-font.md would put the fonts
}
SUFFIXES = "conf|css|csv|html|json|md|py|sh|sql|toml|txt|typ|ya?ml"
IN_BACKTICKS = re.compile(r"`([^`\s]+)`")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")
PATH = re.compile(r"[\w.*<>-]+(/[\w.*<>-]+)*/?")
FILE_NAME = re.compile(rf"[\w.*<>-]+\.(?:{SUFFIXES})")
BARE_PATH = re.compile(rf"(?<![\w/.<`~-])(?:{'|'.join(sorted(ROOMS))})/[\w/-]+\.(?:{SUFFIXES})\b")


def named_in(document: Path) -> Iterator[str]:
    """What a document names as a file or folder of the repository."""
    text = document.read_text(encoding="utf-8")
    yield from LINK.findall(text)
    for token in IN_BACKTICKS.findall(text):
        if PATH.fullmatch(token) and (token.split("/")[0] in ROOMS or FILE_NAME.fullmatch(token.rsplit("/")[-1])):
            yield token


def is_there(name: str, document: Path) -> bool:
    """Seen from the root or from the document's folder; a name without a folder may be any file's. `<x>` stands for any name."""
    if "/" not in name and "*" not in name and "<" not in name:
        return name in BASENAMES or (document.parent / name).exists() or (REPOSITORY / name).exists()
    pattern = re.sub(r"<[^>]*>", "*", name.rstrip("/"))
    folder = document.parent
    while pattern.startswith("../"):
        folder, pattern = folder.parent, pattern.removeprefix("../")
    return any(any(base.glob(pattern)) for base in (REPOSITORY, folder))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    assert [name for name in named_in(document) if name not in NOT_HERE and not is_there(name, document)] == []


def test_every_file_that_code_names_is_there() -> None:
    """In comments and docstrings, in configuration, and in documents without backticks."""
    gone = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in FILES
        for name in BARE_PATH.findall(prose(path))
        if name not in NOT_HERE and "NAME" not in name and not (REPOSITORY / name).exists()
    ]
    assert gone == []


# ---- the walk --------------------------------------------------------------------------------------------------------

WALK = (REPOSITORY / "docs" / "walk.md").read_text(encoding="utf-8")


def defined_in(path: Path) -> set[str]:
    """Names at the top of a module, of functions inside its functions, and `Class.method`."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.Assign):
            named |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            named |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return named


@pytest.mark.parametrize(
    ("room", "names"), re.findall(r"^\| `([\w/]+\.py)` \| (.*?) \|", WALK, re.MULTILINE), ids=lambda cell: cell
)
def test_a_room_of_the_walk_has_what_is_named(room: str, names: str) -> None:
    wanted = set(IN_BACKTICKS.findall(names))
    assert wanted
    assert wanted - defined_in(REPOSITORY / room) == set()


def test_the_walk_has_at_most_five_rooms_on_each_side() -> None:
    sides = WALK.split("\n## ")[1:]
    rooms = {side.splitlines()[0]: len(re.findall(r"^\| `", side, re.MULTILINE)) for side in sides}
    assert len(rooms) == 3
    assert all(1 <= number <= 5 for number in rooms.values()), rooms
