"""Metrics of the bus, one instance per process; `registry.register(metrics)`."""

from collections.abc import Callable, Iterable

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class BusMetrics(Collector):
    """The help text of each metric says what to do about it. Replicas of a service report the same lag: aggregate with max."""

    def __init__(self, before_scrape: Callable[[], None]) -> None:
        self._before_scrape = before_scrape

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fanzha_bus_{name}", text, labels, registry=None)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"fanzha_bus_{name}", text, labels, registry=None)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"fanzha_bus_{name}", text, labels, buckets=SECONDS, registry=None)

        self.handler_duration = histogram(
            "handler_duration_seconds",
            "Time from delivery to answer. Near 10: the database is slow or locked.",
            "durable",
        )
        self.delivered = counter("delivered", "Messages delivered, redeliveries included.", "durable")
        self.redelivered = counter(
            "redelivered", "Deliveries after the first. Many without naks: a process was killed.", "durable"
        )
        self.naks = counter(
            "naks", "Messages put back for later. Growing: the log names the error; lag will grow.", "durable"
        )
        self.poison = counter("poison", "Messages no retry can fix, parked: `fanzha dead-letters list`.", "durable")
        self.publish_duration = histogram(
            "publish_duration_seconds", "Time until JetStream has stored an event. Slow: look at the disk of NATS."
        )
        self.publish_failures = counter(
            "publish_failures", "Publishes without an acknowledgement; the outbox repeats them. Is NATS up, or full?"
        )
        self.permission_denials = counter(
            "permission_denials",
            "NATS refused a subject to this user. Above 0: nats.conf and shared/bus/topology.py differ.",
        )
        self.connected = gauge("connected", "1 while connected to NATS.")
        self.pull_healthy = gauge(
            "pull_healthy", "1 while NATS answers pull requests. 0: /health/ready says why.", "durable"
        )
        self.held = gauge(
            "held",
            "1 while the consumer stands at a message that it cannot understand. A wrong key? Alert ConsumerHeld.",
            "durable",
        )
        self.in_flight = gauge("in_flight", "Messages being handled now.", "durable")
        self.pending = gauge(
            "consumer_pending", "Lag: messages not yet delivered. Growing: handlers fail or are too slow.", "durable"
        )
        self.ack_pending = gauge(
            "consumer_ack_pending",
            "Messages delivered and unanswered, including those waiting to be retried.",
            "durable",
        )

    def collect(self) -> Iterable[Metric]:
        self._before_scrape()
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                yield from metric.collect()
