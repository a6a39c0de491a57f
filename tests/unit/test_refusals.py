"""What a use case refuses has an answer, and every answer is to something that a use case refuses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from devstack.home import REPOSITORY
from services import certificate, checkin, notification, reporting
from services.certificate import refusals as of_certificate
from services.checkin import refusals as of_checkin
from services.notification import refusals as of_notification
from services.reporting import refusals as of_reporting
from services.reporting.obligations.pictures.processes import REFUSALS

NAME = re.compile(r'\bRefused\(\s*("[a-z-]+"|[A-Z_]+|[a-z.]+)')
CHOSEN_BEFORE = {"self.refusal", "refusal"}  # variables; what they may hold is named where it is chosen
LIMITS = {"code-tried-too-often", "address-tried-too-often"}  # named where a limit is made
OF_PICTURES = {*REFUSALS, "unit-pictures-full", "campaign-pictures-full"}


@pytest.mark.parametrize(
    ("service", "refusals", "elsewhere"),
    [
        (checkin, of_checkin, set()),
        (certificate, of_certificate, LIMITS),
        (reporting, of_reporting, {"name-tried-too-often", "address-tried-too-often", *OF_PICTURES}),
        (notification, of_notification, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_refusal_has_its_answer(service: ModuleType, refusals: ModuleType, elsewhere: set[str]) -> None:
    folder = Path(str(service.__file__)).parent
    written = {name for path in folder.rglob("*.py") for name in NAME.findall(path.read_text())} - CHOSEN_BEFORE
    names = {name.strip('"') if name.startswith('"') else getattr(refusals, name) for name in written}
    assert names | elsewhere == set(refusals.ANSWERS)


SAYING = {
    "Problem": 2,
    "Refused": 1,
    "BodyRefused": 1,
    "not_found": 0,
    "NameRefused": 0,
}  # from which argument on people read it


def said() -> Iterator[tuple[str, str]]:
    """Every text that a refusal in the code shows to people, and where it stands: in the call, or in a variable before."""
    for path in (path for folder in ("services", "shared") for path in (REPOSITORY / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            variables = {
                target.id: node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for text in _texts(function):
                written = variables.get(text.id, text) if isinstance(text, ast.Name) else text
                if isinstance(written, ast.JoinedStr | ast.Constant) and getattr(written, "value", "") is not None:
                    yield f"{path.relative_to(REPOSITORY)}:{written.lineno}", ast.unparse(written)


def _texts(function: ast.AST) -> Iterator[ast.expr]:
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SAYING:
            yield from call.args[SAYING[call.func.id] :]


def test_every_validator_of_a_request_speaks_chinese() -> None:
    """An English sentence of a validator would be dropped (shared/service/validation.py)."""
    texts = {
        f"{path.relative_to(REPOSITORY)}:{node.lineno}": ast.unparse(node.exc.args[0])
        for path in [*(REPOSITORY / "services").rglob("api.py"), *(REPOSITORY / "services").rglob("api/*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) == "ValueError"
    }
    assert len(texts) >= 3
    assert [where for where, text in texts.items() if not re.search("[\u4e00-\u9fff]", text)] == []


def test_every_refusal_speaks_chinese() -> None:
    texts = dict(said())
    assert len(texts) > 20
    names_only = re.compile(r"^f'[^A-Za-z]*(\{[^}]*\}[^A-Za-z]*)+'$")
    assert [
        where for where, text in texts.items() if not re.search("[\u4e00-\u9fff]", text) and not names_only.match(text)
    ] == []
