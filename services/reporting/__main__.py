"""`python -m services.reporting`: serves until SIGTERM."""

from services.reporting.app import build_app
from shared.service import run
from shared.settings import ServiceSettings

if __name__ == "__main__":
    run("reporting", build_app, ServiceSettings)
