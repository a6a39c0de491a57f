from services.certificate.app import build_app
from services.certificate.settings import Settings
from shared.logging import configure_logging
from shared.service import run

if __name__ == "__main__":
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    configure_logging("certificate", settings.log_level)
    run(build_app, settings)
