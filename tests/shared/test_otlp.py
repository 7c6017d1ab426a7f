"""What is exported by OTLP, and that nothing is done where nothing is asked for."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.metrics.export import Histogram, Sum
from opentelemetry.sdk.resources import Resource

from shared.telemetry.metrics import APPEND_BATCH, RUNS_ACCEPTED
from shared.telemetry.otlp import exporting, sink
from shared.telemetry.otlp_metrics import metrics_data
from stack.program import ROOT
from tests.collector import Collector

UNSET = """
import sys, threading
from shared.telemetry.otlp import exporting, sink
import gateway.app, toolsvc.app
with exporting("gateway") as exported:
    assert exported is None and sink() is None
    assert threading.active_count() == 1
assert not [name for name in sys.modules if name.startswith("opentelemetry.exporter")]
"""


def test_without_variables_no_exporter_is_imported_and_no_thread_begins() -> None:
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run([sys.executable, "-c", UNSET], cwd=ROOT, env=env, check=True, timeout=60)


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "prometheus"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
    ids=str,
)
def test_what_switches_it_off(more: dict[str, str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} | more
    with exporting("gateway", environ) as exported:
        assert exported is None
        assert sink() is None


def test_a_collector_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as away:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", away.url)
    with exporting("gateway") as exported:
        assert exported is sink() is not None
    assert sink() is None


def test_counters_and_histograms_are_told_as_opentelemetry_has_them() -> None:
    RUNS_ACCEPTED.labels("Of this test").inc(3)
    APPEND_BATCH.observe(3)
    (of_resource,) = metrics_data(Resource({})).resource_metrics
    (scope,) = of_resource.scope_metrics
    found = {one.name: one.data for one in scope.metrics}
    counted, measured = found["baton_runs_accepted"], found["baton_append_batch"]
    assert isinstance(counted, Sum)
    assert counted.is_monotonic
    values = {(one.attributes or {})["agent"]: one.value for one in counted.data_points}
    assert values["Of this test"] == 3
    assert isinstance(measured, Histogram)
    (point,) = measured.data_points
    assert sum(point.bucket_counts) == point.count >= 1
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert point.bucket_counts[list(point.explicit_bounds).index(4)] >= 1
