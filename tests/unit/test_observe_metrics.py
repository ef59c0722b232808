"""Metrics: declared once, named as Prometheus wants it, cheap, and none of them global."""

from __future__ import annotations

import re
from collections.abc import Iterable

import prometheus_client
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from pipeline.observe.metrics import DECLARED, HOPS, Added, Labelled, Metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    """What Prometheus would read."""
    body, _ = metrics.exposition()
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Label values -> value."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def fill(metrics: Metrics) -> Iterable[Labelled | Added]:
    """Give each metric a child, and return them all."""
    found = [each for each in vars(metrics).values() if isinstance(each, Labelled | Added)]
    for each in found:
        each(*(f"some {label}" for label in each.declared.labels))
    return found


def test_names_follow_prometheus_rules() -> None:
    for each in DECLARED:
        assert re.fullmatch(r"(pipeline|kafka_consumergroup)_[a-z]+(_[a-z]+)*", each.name), each.name
        assert (each.kind == "counter") == each.name.endswith("_total"), each.name
        assert (each.unit == "seconds") == each.name.endswith("_seconds"), each.name
        assert (each.kind in ("histogram", "delay")) <= each.name.endswith("_seconds"), each.name
        assert not re.search(r"_(count|sum|bucket|info|ms|millis|milliseconds|minutes|kb|percent)$", each.name)
        assert not re.search(r"_(counter|gauge|histogram)(_|$)", each.name)
        assert each.meaning.endswith(".")
        for label in each.labels:
            assert re.fullmatch(r"[a-z]+", label)
            assert label not in ("le", "quantile", "job", "instance")
    assert len({each.name for each in DECLARED}) == len(DECLARED)


def test_lag_has_the_name_that_operators_know() -> None:
    metrics = Metrics()
    metrics.lag("behavioural", "events.email", "2").set(17)
    body, _ = metrics.exposition()
    line = 'kafka_consumergroup_lag{consumergroup="behavioural",partition="2",topic="events.email"} 17.0'
    assert line in body.decode().splitlines()


def test_everything_declared_is_exposed_with_its_meaning_and_unit() -> None:
    metrics = Metrics()
    assert {each.declared for each in fill(metrics)} == set(DECLARED)
    found = families(metrics)
    kinds = {"delay": "gauge"}
    for each in DECLARED:
        family = found[each.name.removesuffix("_total")]
        assert family.type == kinds.get(each.kind, each.kind)
        assert family.documentation == f"{each.meaning} Unit: {each.unit}."
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == set(each.labels)


def test_nothing_else_is_exposed_but_the_process() -> None:
    metrics = Metrics()
    fill(metrics)
    ours = {each.name.removesuffix("_total") for each in DECLARED}
    others = {name for name in families(metrics) if name not in ours}
    assert {name.partition("_")[0] for name in others} == {"process", "python"}
    assert "process_cpu_seconds" in others
    assert [name for name in others if name.endswith("_created")] == []


def test_both_formats_parse() -> None:
    metrics = Metrics()
    fill(metrics)
    body, content_type = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in openmetrics_parser.text_string_to_metric_families(body.decode())}
    assert names == families(metrics).keys()
    assert metrics.exposition()[1].startswith("text/plain; version=0.0.4")


def test_counting() -> None:
    metrics = Metrics()
    metrics.events("page_viewed", "processed").inc(250)
    metrics.events("page_viewed", "processed").inc(3)
    metrics.events("page_viewed", "late").inc()
    metrics.triggers("abandoned_cart", "fired").inc()
    metrics.dead_letters("truncated", "decode").inc(2)
    metrics.refusals("email", "limit").inc()
    metrics.merges().inc(4)
    found = families(metrics)
    assert values(found["pipeline_events"]) == {("processed", "page_viewed"): 253, ("late", "page_viewed"): 1}
    assert values(found["pipeline_triggers"]) == {("fired", "abandoned_cart"): 1}
    assert values(found["pipeline_dead_letters"]) == {("truncated", "decode"): 2}
    assert values(found["pipeline_identity_refusals"]) == {("email", "limit"): 1}
    assert values(found["pipeline_identity_merges"]) == {(): 4}


def test_the_series_without_open_labels_are_there_before_anything_happens() -> None:
    found = families(Metrics())
    assert values(found["pipeline_identity_merges"]) == {(): 0}
    counts = [s for s in found["pipeline_batch_seconds"].samples if s.name == "pipeline_batch_seconds_count"]
    assert [(sample.labels, sample.value) for sample in counts] == [({"hop": hop}, 0) for hop in HOPS]


def test_batches_fall_into_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.02, 0.03, 60):
        metrics.batch_seconds("maintain_profile").observe(seconds)
    samples = families(metrics)["pipeline_batch_seconds"].samples
    buckets = {
        s.labels["le"]: s.value for s in samples if s.labels.get("hop") == "maintain_profile" and "le" in s.labels
    }
    assert (buckets["0.001"], buckets["0.02"], buckets["0.05"], buckets["30.0"], buckets["+Inf"]) == (1, 2, 3, 3, 4)


def test_a_child_is_made_once() -> None:
    metrics = Metrics()
    assert metrics.events("searched", "processed") is metrics.events("searched", "processed")
    assert metrics.watermark_delay("t", "0") is metrics.watermark_delay("t", "0")


@pytest.mark.parametrize("labels", [(), ("searched",), ("searched", "processed", "twice")])
def test_a_wrong_number_of_labels_is_an_error(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Metrics().events(*labels)


def test_a_delay_grows_while_nothing_moves() -> None:
    now = 1_000.0
    metrics = Metrics(clock=lambda: now)
    metrics.watermark_delay("events.email", "2").since(990_500)
    metrics.timers_overdue("0").since(None)
    metrics.timers_overdue("1").since(1_005_000)  # due in five seconds: not overdue
    metrics.clock_delay("0").since(999_000)

    def delays() -> tuple[float, ...]:
        found = families(metrics)
        return (
            values(found["pipeline_watermark_delay_seconds"])[("2", "events.email")],
            values(found["pipeline_timers_overdue_seconds"])[("0",)],
            values(found["pipeline_timers_overdue_seconds"])[("1",)],
            values(found["pipeline_clock_delay_seconds"])[("0",)],
        )

    assert delays() == (9.5, 0, 0, 1)
    now += 10
    assert delays() == (19.5, 0, 5, 11)


def test_a_partition_that_went_away_leaves_no_series() -> None:
    metrics = Metrics()
    for partition in ("0", "1"):
        metrics.lag("g", "events.email", partition).set(1)
        metrics.lag("g", "identity.resolved", partition).set(1)
        metrics.watermark_delay("events.email", partition).since(1)
        for gauge in (metrics.timers_pending, metrics.moves_under_way, metrics.quarantined, metrics.outbox):
            gauge(partition).set(1)
        metrics.clock_delay(partition).since(1)
        metrics.timers_overdue(partition).since(1)
    metrics.forget_source("events.email", "1")
    metrics.forget_partition("identity.resolved", "0")
    metrics.forget_partition("identity.resolved", "0")  # twice is as once
    found = families(metrics)
    partitions = {
        name: {(s.labels.get("topic"), s.labels["partition"]) for s in family.samples}
        for name, family in found.items()
        if any("partition" in sample.labels for sample in family.samples)
    }
    resolved = {(None, "1")}
    assert partitions == {
        "kafka_consumergroup_lag": {("events.email", "0"), ("identity.resolved", "1")},
        "pipeline_watermark_delay_seconds": {("events.email", "0")},
        "pipeline_timers_pending": resolved,
        "pipeline_timers_overdue_seconds": {(None, "0"), (None, "1")},  # told of all, whoever has them
        "pipeline_clock_delay_seconds": resolved,
        "pipeline_moves_under_way": resolved,
        "pipeline_profiles_quarantined": resolved,
        "pipeline_outbox_entries": resolved,
    }
    metrics.timers_pending("0").set(5)  # and it may come back
    assert values(families(metrics)["pipeline_timers_pending"]) == {("0",): 5, ("1",): 1}


def test_nothing_is_global() -> None:
    one, other = Metrics(), Metrics()
    one.merges().inc()
    assert values(families(other)["pipeline_identity_merges"]) == {(): 0}
    names = {family.name for family in prometheus_client.REGISTRY.collect()}
    assert [name for name in names if name.startswith("pipeline")] == []
