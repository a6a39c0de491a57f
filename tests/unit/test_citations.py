"""Whoever follows a citation arrives: `DESIGN §4.2`, `FACTS A2`, `STACK, "HTTP"` and `STYLE` lead to pages of docs/.

New rules and facts come with the code that stands on them: write the section first, then cite it.
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = {name: REPOSITORY / "docs" / f"{name.lower()}.md" for name in ("DESIGN", "FACTS", "STACK", "STYLE")}
BINARY = {".svg", ".lock", ".csv"}
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
QUOTED = r'"[^"]+"'
# What may stand behind the name: sections, rows, or headings, the first of several with the others behind commas.
CITED = re.compile(
    rf"\b(?P<page>DESIGN|FACTS|STACK|STYLE)\b"
    rf"(?:\s+(?P<sections>§[\d.]*\d(?:,\s+§[\d.]*\d)*)|\s+(?P<rows>[A-Z]\d*\b(?:,\s+[A-Z]\d+\b)*)"
    rf"|,?\s+\(?(?P<headings>{QUOTED}(?:,\s+{QUOTED})*))?"
)


def citations(text: str) -> Iterator[tuple[str, str | None]]:
    """(page, section, row or heading) for each; None where a citation names no part of its page."""
    for citation in CITED.finditer(text):
        parts = citation["sections"] or citation["rows"] or citation["headings"]
        named = re.findall(rf"§[\d.]*\d|{QUOTED}|[A-Z]\d*", parts) if parts else [None]
        yield from ((citation["page"], part and " ".join(part.split())) for part in named)


def destinations(page: str, text: str) -> set[str | None]:
    """What of a page can be cited: the page itself only where it is short enough to be read in whole (STYLE)."""
    headings = {heading.strip() for heading in HEADING.findall(text)}
    numbered = {f"§{number}" for heading in headings for number in re.findall(r"^(\d+(?:\.\d+)?)\.? ", heading)}
    parts = {part for heading in headings for part in re.findall(r"^([A-Z])\. ", heading)}
    rows = set(re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE))
    quoted = {f'"{heading}"' for heading in headings}
    return {*numbered, *parts, *rows, *quoted, *([None] if page == "STYLE" else [])}


def prose(path: Path) -> str:
    """What a file says to its readers: of Python its comments and texts, else all of it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        text = "\n".join(token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))
    return text.replace('\\"', '"')  # in JSON


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in listed.stdout.splitlines()]
    here = Path(__file__).resolve()
    return [path for path in paths if path.is_file() and path.suffix not in BINARY and path != here]


def test_every_citation_leads_to_what_the_documents_have() -> None:
    known = {page: destinations(page, path.read_text(encoding="utf-8")) for page, path in PAGES.items()}
    astray = [
        f"{path.relative_to(REPOSITORY)}: {page} {part or '(names no part of the page)'} is not in docs/{page.lower()}.md"
        for path in tracked()
        for page, part in citations(prose(path))
        if part not in known[page]
    ]
    assert astray == []


def test_every_way_to_cite_is_read() -> None:
    text = (
        'DESIGN §4.2, §9 (FACTS A5, A7), FACTS A; FACTS, "Viewers\n    and the law". '
        'STACK ("HTTP", "Compose"), STYLE and FACTS.'
    )
    assert list(citations(text)) == [
        ("DESIGN", "§4.2"),
        ("DESIGN", "§9"),
        ("FACTS", "A5"),
        ("FACTS", "A7"),
        ("FACTS", "A"),
        ("FACTS", '"Viewers and the law"'),
        ("STACK", '"HTTP"'),
        ("STACK", '"Compose"'),
        ("STYLE", None),
        ("FACTS", None),
    ]
