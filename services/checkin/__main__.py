"""`python -m services.checkin`: serves until SIGTERM."""

from services.checkin.app import build_app
from services.checkin.settings import Settings
from shared.service import run

if __name__ == "__main__":
    run("checkin", build_app, Settings)
