"""Logs: one JSON object a line on stdout. Nobody's phone number gets out, even inside an error text (DESIGN §4.8)."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# With or without country code and separators, also in full-width digits as a phone's keyboard may write them.
_PHONE = re.compile(r"(?<!\d)((?:(?:\+|00)?86[ -]?)?[1１][3-9３-９]\d)[ -]?\d{4}[ -]?(\d{4})(?!\d)")


def mask_phones(text: str) -> str:
    return _PHONE.sub(r"\1****\2", text)


def _mask(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _masked(value) for key, value in entry.items()}


def _masked(value: Any) -> Any:
    """As the JSON line will show it: what is neither a plain value nor a container is shown by its `repr`."""
    if isinstance(value, dict):
        return {mask_phones(str(key)): _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    masked = mask_phones(text)
    return value if isinstance(value, int) and masked == text else masked


def configure_logging(service: str, level: str = "INFO") -> None:
    """Sends structlog and the standard library's loggers through the same processors."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _mask,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("uvicorn.access", "httpx", "faststream.access.nats"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)
