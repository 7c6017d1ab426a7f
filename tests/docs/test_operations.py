"""docs/operations.md shows every metric, with its labels and its own words."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from gateway.doctor.finding import ABOUT, Defect
from shared.telemetry import metrics
from tests.docs.pages import code, page, rows, section

METRICS = [one for one in vars(metrics).values() if isinstance(one, (Counter, Gauge, Histogram))]


def test_every_metric_is_there() -> None:
    table = rows(section(page("docs/operations.md"), "## Metrics"))
    shown = {
        code(name)[0]: (tuple(filter(None, labels.split(", "))), meaning)
        for name, _, labels, meaning in table
    }
    assert shown == {one._name: (tuple(one._labelnames), one._documentation) for one in METRICS}


def test_the_file_of_metrics_has_all_there_are() -> None:
    names = {collector._name for collector in METRICS}
    ours = {one.name for one in REGISTRY.collect() if one.name.startswith("baton_")}
    assert ours == names


def test_each_metric_says_where_it_means_something() -> None:
    table = rows(section(page("docs/operations.md"), "## Metrics"))
    assert {cells[1] for cells in table} == {"all", "gateway", "runner", "toolsvc"}


def test_each_defect_is_explained() -> None:
    table = rows(section(page("docs/operations.md"), "## The doctor"))
    shown = {code(name)[0]: (fix, means) for name, fix, means in table}
    assert shown == {
        str(defect): ("yes" if about.fixable else "no", about.means)
        for defect, about in ABOUT.items()
    }
    assert set(ABOUT) == set(Defect)
