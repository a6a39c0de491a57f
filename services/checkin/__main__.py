from services.checkin.app import build_app
from services.checkin.settings import Settings
from shared.logging import configure_logging
from shared.service import run

if __name__ == "__main__":
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    configure_logging("checkin", settings.log_level)
    run(build_app, settings)
