"""Checks at import that FastStream has the internals that shared/bus/subscribing.py uses beyond its public interface.

Why we stand on it, and what to check on an upgrade: docs/decisions/pull-loop.md.
"""

import inspect
from importlib.metadata import version

BUILT_ON = "0.7.8"


def _missing(what: str) -> ImportError:
    return ImportError(
        f"shared/bus/subscribing.py was built on the internals of FastStream {BUILT_ON}; "
        f"{version('faststream')} is installed, and this is missing: {what} (docs/decisions/pull-loop.md)"
    )


def _require(owner: type, name: str, *parameters: str) -> None:
    """Raises unless `owner` has the attribute, and it takes these parameters."""
    if not hasattr(owner, name):
        raise _missing(f"{owner.__name__}.{name}")
    taken = inspect.signature(getattr(owner, name)).parameters if parameters else {}
    for parameter in parameters:
        if parameter not in taken:
            raise _missing(f"the parameter {parameter} of {owner.__name__}.{name}")


try:
    from faststream._internal.broker.registrator import Registrator
    from faststream._internal.endpoint.subscriber.call_item import CallsCollection
    from faststream.nats.subscriber.config import NatsSubscriberConfig, NatsSubscriberSpecificationConfig
    from faststream.nats.subscriber.specification import NatsSubscriberSpecification
    from faststream.nats.subscriber.usecases.stream_basic import StreamSubscriber
except ImportError as error:
    raise _missing(str(error)) from error

_require(Registrator, "subscriber", "subscriber")
_require(NatsSubscriberConfig, "__init__", "subject", "sub_config", "no_reply", "_outer_config")
_require(NatsSubscriberConfig, "ack_policy")
_require(
    NatsSubscriberSpecificationConfig, "__init__", "subject", "queue", "title_", "description_", "include_in_schema"
)
_require(StreamSubscriber, "__init__", "config", "specification", "calls", "stream", "queue")
_require(StreamSubscriber, "_create_subscription")  # overridden: where our loop starts
_require(StreamSubscriber, "stop")  # overridden: where it ends
_require(StreamSubscriber, "process_message", "msg")
_require(StreamSubscriber, "add_call", "parser_", "decoder_", "dependencies_")
_require(StreamSubscriber, "connection")

__all__ = [
    "CallsCollection",
    "NatsSubscriberConfig",
    "NatsSubscriberSpecification",
    "NatsSubscriberSpecificationConfig",
    "Registrator",
    "StreamSubscriber",
]
