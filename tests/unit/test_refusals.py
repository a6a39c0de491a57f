"""What a use case refuses has an answer, and every answer is to something that a use case refuses."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from services import certificate, checkin, reporting
from services.certificate import refusals as of_certificate
from services.checkin import refusals as of_checkin
from services.reporting import refusals as of_reporting

NAME = re.compile(r'\bRefused\(\s*("[a-z-]+"|[A-Z_]+|[a-z.]+)')
LIMITS = {"code-tried-too-often", "address-tried-too-often"}  # named where a limit is made


@pytest.mark.parametrize(
    ("service", "refusals", "elsewhere"),
    [(checkin, of_checkin, set()), (certificate, of_certificate, LIMITS), (reporting, of_reporting, set())],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_refusal_has_its_answer(service: ModuleType, refusals: ModuleType, elsewhere: set[str]) -> None:
    folder = Path(str(service.__file__)).parent
    written = {name for path in folder.rglob("*.py") for name in NAME.findall(path.read_text())} - {"self.refusal"}
    names = {name.strip('"') if name.startswith('"') else getattr(refusals, name) for name in written}
    assert names | elsewhere == set(refusals.ANSWERS)
