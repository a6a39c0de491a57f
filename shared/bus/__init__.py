"""NATS: handlers of events (`consume`), the connection (`Bus`), the outbox and inbox that make each fact count once, and the
topology that says who publishes and reads what."""

from shared.bus.connection import Bus, BusState, DurableState, NotConnected, asyncapi_document
from shared.bus.consuming import consume, consume_together
from shared.bus.subscribing import build_router, subscribe, subscribe_raw
from shared.failures import ParkedMessage, Poison

__all__ = [
    "Bus",
    "BusState",
    "DurableState",
    "NotConnected",
    "ParkedMessage",
    "Poison",
    "asyncapi_document",
    "build_router",
    "consume",
    "consume_together",
    "subscribe",
    "subscribe_raw",
]
