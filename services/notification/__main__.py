"""`python -m services.notification`: serves until SIGTERM."""

from services.notification.app import build_app
from services.notification.settings import Settings
from shared.service import run

if __name__ == "__main__":
    run("notification", build_app, Settings)
