"""Counters and gauges, and the text that Prometheus reads them as."""

import threading
from typing import Any

_PREFIX = "serve_http_"


class Metrics:
    """Numbers by name and labels; threads may share them."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def count(self, name: str, by: float = 1, **labels: Any) -> None:
        """Adds to a counter, whose name ends in `_total`."""
        key = _key(name, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + by

    def gauge(self, name: str, value: float, **labels: Any) -> None:
        """Sets a gauge."""
        with self._lock:
            self._values[_key(name, labels)] = value

    def text(self) -> str:
        """Returns all values in Prometheus' text format."""
        with self._lock:
            values = sorted(self._values.items())
        lines, last = [], None
        for (name, labels), value in values:
            if name != last:
                kind = "counter" if name.endswith("_total") else "gauge"
                lines.append(f"# TYPE {_PREFIX}{name} {kind}")
                last = name
            lines.append(f"{_PREFIX}{name}{labels} {value:.10g}")
        return "\n".join(lines) + "\n"


def _key(name: str, labels: dict[str, Any]) -> tuple[str, str]:
    listed = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return name, f"{{{listed}}}" if listed else ""
