"""Figures of the NATS server for Prometheus: `python -m upkeep.nats_exporter`, beside the server, in any image of ours.

The names are those of the official exporter, which could take its place, and `fanzha_nats_sync_always`, for which the official
one has no figure: it leaves out what is true or false, and without that setting acked does not mean stored
(STACK, "NATS server").
"""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry, disable_created_metrics, make_asgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic_settings import BaseSettings, SettingsConfigDict

TIMEOUT_S = 5  # Prometheus gives us 10

SERVER = {
    "gnatsd_varz_connections": "Clients connected. Fewer than our services: which one is missing?",
    "gnatsd_varz_mem": "Resident memory in bytes.",
    "gnatsd_varz_slow_consumers": "Connections closed because they did not read in time.",
    "gnatsd_varz_in_msgs": "Messages received, since the server started.",
    "gnatsd_varz_out_msgs": "Messages sent, since the server started.",
}
STREAM = {
    "jetstream_stream_total_messages": "Messages stored.",
    "jetstream_stream_total_bytes": "Bytes stored. Near the limit: publishes are refused, the outbox keeps the events.",
    "jetstream_stream_limit_bytes": "The stream's max_bytes (shared/bus/topology.py).",
}
CONSUMER = {
    "jetstream_consumer_num_pending": "Messages not yet delivered to the durable.",
    "jetstream_consumer_num_ack_pending": "Messages delivered and unanswered.",
    "jetstream_consumer_num_redelivered": "Of those, delivered more than once.",
}


class ExporterSettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True)

    nats_monitoring_url: str  # http://nats:8222
    host: str = "0.0.0.0"  # noqa: S104 - in a container, on an internal network
    port: int = 7777


class NatsCollector(Collector):
    """Asks the server at each scrape. While the server does not answer the scrape fails, so that Prometheus sees the target
    down."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def collect(self) -> Iterable[Metric]:
        health = self._http.get("/healthz").status_code == httpx.codes.OK
        return figures(self._get("/varz"), self._get("/jsz?accounts=true&consumers=true&config=true"), health)

    def _get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()


def figures(varz: Mapping[str, Any], jsz: Mapping[str, Any], healthy: bool) -> list[Metric]:
    """What the server says of itself as metric families. Pure."""
    server = {name: _family(name, text, varz[name.removeprefix("gnatsd_varz_")]) for name, text in SERVER.items()}
    status = _family(
        "gnatsd_healthz_status", "0 while the server is healthy. 1: its log says why.", 0 if healthy else 1
    )
    config = jsz["config"]
    sync = _family(
        "fanzha_nats_sync_always",
        "1 when acked means stored. 0: sync_interval must be `always` in nats.conf.",
        config.get("sync_always", False),
    )
    storage = _family("jetstream_server_max_storage", "max_file of nats.conf in bytes.", config["max_storage"])
    used = _family("jetstream_server_total_message_bytes", "Bytes stored by all streams.", jsz.get("bytes", 0))
    return [*server.values(), status, sync, storage, used, *_streams(jsz)]


def _streams(jsz: Mapping[str, Any]) -> list[Metric]:
    streams = {name: GaugeMetricFamily(name, text, labels=["stream_name"]) for name, text in STREAM.items()}
    consumers = {
        name: GaugeMetricFamily(name, text, labels=["stream_name", "consumer_name"]) for name, text in CONSUMER.items()
    }
    for account in jsz.get("account_details", []):
        for stream in account.get("stream_detail", []):
            values = (stream["state"]["messages"], stream["state"]["bytes"], stream["config"]["max_bytes"])
            for family, value in zip(streams.values(), values, strict=True):
                family.add_metric([stream["name"]], value)
            for consumer in stream.get("consumer_detail") or []:
                for name, family in consumers.items():
                    value = consumer[name.removeprefix("jetstream_consumer_")]
                    family.add_metric([stream["name"], consumer["name"]], value)
    return [*streams.values(), *consumers.values()]


def _family(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def main(settings: ExporterSettings) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=False)
    with httpx.Client(base_url=settings.nats_monitoring_url, timeout=TIMEOUT_S) as http:
        registry.register(NatsCollector(http))
        app = make_asgi_app(registry)
        uvicorn.run(app, host=settings.host, port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main(ExporterSettings())  # type: ignore[call-arg]  # from the environment
