"""`pipeline topics` and a real schema registry: what is registered, under what, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pipeline.errors import SchemaMissing
from pipeline.events import schemas
from pipeline.events.codec import Decoder, Encoder, to_record
from pipeline.events.registry import connect
from pipeline.runtime.subjects import LEVEL, wanted
from tests.deployment import PIPELINE, Deployment
from tests.servers import SchemaRegistry
from tests.unit.event_samples import sample

pytestmark = pytest.mark.servers

BASELINE = Path(__file__).parents[1] / "data" / "schemas-baseline"
BASED = {path.stem for path in BASELINE.glob("*.avsc")}


@pytest.fixture
def client(registry: SchemaRegistry) -> Iterator[SchemaRegistryClient]:
    """Confluent's own, as producers and consumers out there use it."""
    with SchemaRegistryClient.new_client({"url": registry.url}) as client:
        yield client


def subject(deployment: Deployment, stream: str, name: str) -> str:
    return schemas.subject(f"{deployment.name}.events.{stream}", name)


def wanted_of(deployment: Deployment) -> int:
    """How many subjects it needs."""
    return len(wanted(deployment.topology.topics))


def said(shown: str) -> list[str]:
    """What it says below the table of topics."""
    return [line for line in shown.splitlines() if line.startswith(("schemas in ", "set: ", "warning: ", "error: "))]


def test_every_type_has_a_subject_of_its_own_and_a_second_run_changes_nothing(
    deployment: Deployment, client: SchemaRegistryClient, registry: SchemaRegistry
) -> None:
    shown = said(deployment.run("topics", "--check", code=1))
    assert f"schemas in {registry.url}: {wanted_of(deployment)} missing" in shown
    assert any(line.startswith(f"error: {deployment.name}.events.video: the registry doesn't have") for line in shown)
    ours = [schemas.subject(topic, name) for topic, name in wanted(deployment.topology.topics)]
    for name in ours:
        with pytest.raises(SchemaRegistryError):
            client.get_versions(name)

    assert said(deployment.run("topics")) == [f"schemas in {registry.url}: {wanted_of(deployment)} registered"]
    assert len(set(ours)) == wanted_of(deployment) > 30
    assert {client.get_compatibility(name) for name in ours} == {LEVEL}
    found = client.get_latest_version(subject(deployment, "email", "email_sent"))
    assert json.loads(found.schema.schema_str or "") == schemas.schema("email_sent")

    for arguments in ([], ["--check"]):
        assert said(deployment.run("topics", *arguments)) == [
            f"schemas in {registry.url}: {wanted_of(deployment)} as they should be"
        ]
    assert {len(client.get_versions(name)) for name in ours} == {1}


def test_a_registry_that_holds_more_than_it_lists_is_asked_for_each(
    deployment: Deployment, client: SchemaRegistryClient, registry: SchemaRegistry
) -> None:
    """Apicurio lists 1,000 subjects and doesn't say that there are more."""
    for number in range(1_000 - len(client.get_subjects())):
        client.register_schema(f"{deployment.name}-filler-{number}", Schema('"string"', "AVRO"))
    assert said(deployment.run("topics")) == [f"schemas in {registry.url}: {wanted_of(deployment)} registered"]
    assert said(deployment.run("topics")) == [f"schemas in {registry.url}: {wanted_of(deployment)} as they should be"]
    some = subject(deployment, "email", "email_sent")
    assert some not in client.get_subjects()  # what the test is about
    client.set_compatibility(some, "BACKWARD")
    assert f"set: {some}: its compatibility is {LEVEL} now; it was BACKWARD" in said(deployment.run("topics"))


def test_an_upgrade_registers_the_next_version_and_raises_what_is_too_weak(
    deployment: Deployment, client: SchemaRegistryClient, registry: SchemaRegistry
) -> None:
    """From the earlier version of every schema, as a registry takes them that a producer has filled by itself."""
    topics = wanted(deployment.topology.topics)
    older = [(topic, name) for topic, name in topics if name in BASED]
    for topic, name in older:
        old = (BASELINE / f"{name}.avsc").read_text("utf-8")
        client.register_schema(schemas.subject(topic, name), Schema(old, "AVRO"))
    weak, chosen = subject(deployment, "email", "email_sent"), subject(deployment, "email", "email_opened")
    client.set_compatibility(weak, "BACKWARD")
    client.set_compatibility(chosen, "BACKWARD_TRANSITIVE")
    found = said(deployment.run("topics", "--no-schemas"))
    assert found == []
    shown = said(deployment.run("topics", "--check", code=1))
    assert any(line.startswith(f"warning: {weak}: its compatibility is BACKWARD,") for line in shown)
    shown = said(deployment.run("topics"))
    assert shown[0] == f"schemas in {registry.url}: {wanted_of(deployment)} registered"
    assert f"set: {weak}: its compatibility is {LEVEL} now; it was BACKWARD" in shown
    assert len([line for line in shown if line.startswith("set: ")]) == len(older) - 1
    assert {client.get_compatibility(schemas.subject(topic, name)) for topic, name in topics} == {
        LEVEL,
        "BACKWARD_TRANSITIVE",
    }
    assert client.get_compatibility(chosen) == "BACKWARD_TRANSITIVE"
    assert client.get_versions(weak) == [1, 2]
    assert said(deployment.run("topics")) == [f"schemas in {registry.url}: {wanted_of(deployment)} as they should be"]


def test_a_version_that_others_could_not_read_is_refused_and_the_field_named(
    deployment: Deployment, registry: SchemaRegistry, client: SchemaRegistryClient
) -> None:
    """A deployer's schemas: one with a new field that has no default, one without a field that has none."""
    told = schemas.schema("searched")
    told["fields"].append({"name": "shelf", "type": "string", "doc": "Where they looked."})
    client.register_schema(subject(deployment, "clickstream", "searched"), Schema(json.dumps(told), "AVRO"))
    deployment.run("topics", code=1)
    changed = json.loads(schemas.path("product_added").read_text("utf-8"))
    changed["fields"][-1]["type"]["fields"].append({"name": "warehouse", "type": "string", "doc": "Where it lies."})
    package = Path(schemas.__file__).parents[1]
    copy = deployment.folder / "their"
    shutil.copytree(package, copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(schemas.directory(), copy / "schemas")
    shutil.copytree(schemas.directory().parent / "rules", copy / "rules")
    (copy / "schemas" / "product_added.avsc").write_text(json.dumps(changed))
    command = [*PIPELINE, "topics", "--topology", str(deployment.path)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = done.stdout
    assert f"schemas in {registry.url}: {wanted_of(deployment) - 2} as they should be, 2 refused" in shown, done.stderr
    errors = [line for line in shown.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [
        subject(deployment, "clickstream", "product_added"),
        subject(deployment, "clickstream", "searched"),
    ]
    for line, field in zip(errors, ("warehouse", "shelf"), strict=True):
        assert field in line
        assert "needs a default" in line
        assert "RuleViolationException" not in line
    assert client.get_versions(subject(deployment, "clickstream", "product_added")) == [1]


def test_a_worker_without_its_schemas_says_what_to_do(deployment: Deployment) -> None:
    deployment.run("topics", "--no-schemas")
    worker = deployment.worker()
    worker.expected_end = True
    assert worker.process.wait(60) == 1
    assert f"{deployment.name}.decisions-behavioural.triggers.Decision: `pipeline topics` registers" in worker.tail()
    assert "Traceback" not in worker.tail()


def test_topics_are_made_while_the_registry_is_away(deployment: Deployment, tmp_path: Path) -> None:
    away = deployment.run("topics", code=1, PIPELINE_REGISTRY="http://someone:secret@127.0.0.1:9")
    assert "created" in away
    assert "secret" not in away
    assert "The topics are as shown; run this again for the schemas." in away
    assert f"{wanted_of(deployment)} registered" in deployment.run("topics")


def test_a_serializers_default_subject_takes_one_type_only(client: SchemaRegistryClient, prefix: str) -> None:
    """So docs/produce.md names the strategy. BACKWARD is Confluent's default."""
    topic = f"{prefix}events.clickstream"
    client.set_compatibility(f"{topic}-value", "BACKWARD")

    def serialize(name: str) -> bytes | None:
        serializer = AvroSerializer(client, schemas.text(name))
        return serializer(to_record(sample(name)), SerializationContext(topic, MessageField.VALUE))

    assert serialize("product_added")
    with pytest.raises(SchemaRegistryError, match="ncompatible"):
        serialize("identified")


def test_what_one_writes_another_reads(registry: SchemaRegistry, prefix: str) -> None:
    topic = f"{prefix}events.email"
    with connect(registry.url) as ours:
        with pytest.raises(SchemaMissing, match="pipeline topics"):
            Encoder(ours).encode(topic, sample("email_sent"))
        ours.register(schemas.subject(topic, "email_sent"), schemas.text("email_sent"))
        value = Encoder(ours).encode(topic, sample("email_sent"))
        ours.alive()
    with connect(registry.url) as theirs:
        assert Decoder(theirs).decode(value) == sample("email_sent")
