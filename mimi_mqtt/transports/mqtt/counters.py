"""Counters of the embedded broker: plain integers on the hot path, exported when Prometheus asks."""

import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_log = logging.getLogger(__name__)

_QUIET_S = 60.0


class Counters:
    """Totals since start, connections now, and the log line of a limit that was reached.

    `refused` and `limits` count by reason, `faults` by the border that caught them; messages are PUBLISH
    packets, bytes whole packets.
    """

    __slots__ = (
        "__weakref__", "_clock", "_last_logged", "_suppressed", "accepted", "bytes_in", "bytes_out",
        "connected", "faults", "limits", "messages_in", "messages_out", "pending", "refused",
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float]) -> None:
        self.accepted: Counter[str] = Counter()
        self.connected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.pending = 0
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0
        self._clock = clock
        self._last_logged: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()
        _live.add(self)

    def refuse(self, reason: str, peer: str, detail: str = "") -> None:
        """Counts a connection that was not accepted; logged at most once a minute for each reason."""
        self.refused[reason] += 1
        self._log_rarely(reason, f"refused {peer}: {detail or reason}")

    def limit(self, name: str, detail: str) -> None:
        """Counts a limit that was reached; logged at most once a minute for each limit."""
        self.limits[name] += 1
        self._log_rarely(name, detail)

    def fault(self, border: str, detail: str) -> None:
        """Counts the exception being handled; logged with its traceback, once a minute for each border."""
        self.faults[border] += 1
        self._log_rarely(border, detail, traceback=True)

    def _log_rarely(self, key: str, text: str, *, traceback: bool = False) -> None:
        now = self._clock()
        if now - self._last_logged.get(key, -_QUIET_S) < _QUIET_S:
            self._suppressed[key] += 1
            return
        self._last_logged[key] = now
        if more := self._suppressed.pop(key, 0):
            text += f" (and {more} more like it)"
        if traceback:
            _log.exception("%s", text)
        else:
            _log.warning("%s", text)


_live: "weakref.WeakSet[Counters]" = weakref.WeakSet()


class _BrokerCollector(Collector):
    """Exports the totals of the brokers of this process: one, except in tests."""

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: the names are fixed, and no other collector uses them."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The metrics, all prefixed `mimi_mqtt_`."""
        brokers = list(_live)
        yield GaugeMetricFamily(
            "mimi_mqtt_pending_connections",
            "Connections before CONNECT",
            sum(item.pending for item in brokers),
        )
        connections = GaugeMetricFamily("mimi_mqtt_connections", "Open connections", labels=["role"])
        for label, value in sum((item.connected for item in brokers), Counter[str]()).items():
            connections.add_metric([label], value)
        yield connections
        for name, text, label, totals in (
            ("connects_accepted", "Accepted CONNECTs", "role", [item.accepted for item in brokers]),
            ("connects_refused", "Refused connections", "reason", [item.refused for item in brokers]),
            ("limits", "Limits reached", "limit", [item.limits for item in brokers]),
            ("faults", "Exceptions caught at a border", "border", [item.faults for item in brokers]),
        ):
            family = CounterMetricFamily(f"mimi_mqtt_{name}", text, labels=[label])
            for value_label, value in sum(totals, Counter[str]()).items():
                family.add_metric([value_label], value)
            yield family
        for name, text, inward, outward in (
            ("messages", "PUBLISH packets", "messages_in", "messages_out"),
            ("bytes", "Bytes of packets", "bytes_in", "bytes_out"),
        ):
            family = CounterMetricFamily(f"mimi_mqtt_{name}", text, labels=["direction"])
            family.add_metric(["in"], sum(getattr(item, inward) for item in brokers))
            family.add_metric(["out"], sum(getattr(item, outward) for item in brokers))
            yield family


REGISTRY.register(_BrokerCollector())
