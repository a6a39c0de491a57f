"""`python -m services.reporting`: serves until SIGTERM."""

from services.reporting.app import build_app
from services.reporting.settings import Settings
from shared.service import run

if __name__ == "__main__":
    run("reporting", build_app, Settings)
