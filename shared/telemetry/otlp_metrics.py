"""The metrics of `/metrics` in OpenTelemetry's form; imported only where they are exported."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_SCOPE = InstrumentationScope("baton")
#: When this process began to count.
_BEGUN_NS = time.time_ns()

Labels = tuple[tuple[str, str], ...]


def metrics_data(resource: Resource) -> MetricsData:
    """All metrics of this process as they stand."""
    now = time.time_ns()
    metrics = [made for family in REGISTRY.collect() if (made := _metric(family, now))]
    scope = ScopeMetrics(_SCOPE, metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource, [scope], schema_url="")])


def _metric(family: Family, now: int) -> Metric | None:
    """One metric; `None` for a kind that OpenTelemetry has no form for."""
    data: Sum | Gauge | Histogram
    if family.type == "counter":
        counted = (one for one in family.samples if one.name.endswith("_total"))
        points = list(_numbers(counted, now))
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    elif family.type == "gauge":
        data = Gauge(list(_numbers(family.samples, now)))
    elif family.type == "histogram":
        data = Histogram(list(_histograms(family, now)), AggregationTemporality.CUMULATIVE)
    else:
        return None
    unit = "s" if family.name.endswith("_seconds") else ""
    return Metric(family.name, family.documentation, unit, data) if data.data_points else None


def _numbers(samples: Iterable[Sample], now: int) -> Iterator[NumberDataPoint]:
    for one in samples:
        yield NumberDataPoint(dict(one.labels), _BEGUN_NS, now, one.value)


def _histograms(family: Family, now: int) -> Iterator[HistogramDataPoint]:
    """Prometheus counts all that is below a bound, OpenTelemetry what is between two."""
    found: dict[Labels, dict[str, Any]] = defaultdict(lambda: {"buckets": [], "sum": 0.0})
    for one in family.samples:
        labels = tuple((name, value) for name, value in one.labels.items() if name != "le")
        if one.name.endswith("_bucket"):
            found[labels]["buckets"].append((float(one.labels["le"]), int(one.value)))
        elif one.name.endswith("_sum"):
            found[labels]["sum"] = one.value
    for labels, had in found.items():
        below = [count for _, count in sorted(had["buckets"])]
        counts = [count - before for count, before in zip(below, [0, *below], strict=False)]
        bounds = [bound for bound, _ in sorted(had["buckets"])][:-1]
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=_BEGUN_NS,
            time_unix_nano=now,
            count=below[-1],
            sum=had["sum"],
            bucket_counts=counts,
            explicit_bounds=bounds,
            min=0.0,
            max=bounds[-1],
        )
