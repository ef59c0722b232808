"""The image and the compose file, as far as they can be checked without a container engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import COMMANDS
from pipeline.topology import VARIABLES, load

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (INSTRUCTION, rest), continuation lines joined, comments left out."""
    lines = (line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def copied(stage: int) -> list[str]:
    """What a stage copies from the checkout."""
    stages = -1
    sources: list[str] = []
    for word, rest in instructions():
        stages += word == "FROM"
        if word == "COPY" and stages == stage and not rest.startswith("--from"):
            sources += rest.split()[:-1]
    return sources


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the build stage would make, from exactly what it copies and nothing else."""
    source = tmp_path_factory.mktemp("build-stage")
    for name in copied(0):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(path, source / name)
    out = source / "out"
    command = [sys.executable, "-m", "pip", "-q", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "-w", str(out), "."], cwd=source, check=True)
    [made] = out.glob("*.whl")
    return made


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    let_in = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    for name in [*copied(0), *copied(1)]:
        assert (ROOT / name).exists()
        assert name in let_in


def test_the_wheel_carries_schemas_and_topology(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "pipeline/_data/topology.yaml" in names
    assert {f"pipeline/_data/rules/{path.name}" for path in (ROOT / "rules").glob("*.yaml")} <= names
    assert {f"pipeline/_data/schemas/{path.name}" for path in (ROOT / "schemas").glob("*.avsc")} <= names


def test_the_wheel_carries_the_compiled_modules_for_this_python(wheel: Path) -> None:
    assert any(word == "ENV" and "PIPELINE_REQUIRE_COMPILED=1" in rest for word, rest in instructions())
    names = set(zipfile.ZipFile(wheel).namelist())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    modules = {str(path.relative_to(ROOT).with_suffix("")) + suffix for path in (ROOT / "pipeline").rglob("_*.pyx")}
    assert modules
    assert {name for name in names if name.endswith(".so")} == modules
    assert not wheel.name.endswith("-none-any.whl")


def test_an_installed_wheel_finds_its_schemas_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "from pipeline.events import schemas; print(schemas.directory())"
    # -I would hide PYTHONPATH; the checkout is not in sight from tmp_path, and the extracted package comes first.
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(run.stdout.strip()) == tmp_path / "pipeline" / "_data" / "schemas"


def test_only_locked_dependencies_get_into_the_image() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    for command in installs:
        assert "--require-hashes -r requirements.lock" in command or "--no-build-isolation --no-deps ." in command
    lock = (ROOT / "requirements.lock").read_text()
    assert "http://" not in lock
    assert "https://" not in lock


def test_the_commands_are_commands_of_pipeline(compose: dict[str, Any]) -> None:
    assert json.loads(dict(instructions())["ENTRYPOINT"]) == ["pipeline"]
    image = json.loads(dict(instructions())["CMD"])
    for words in (image, compose["services"]["worker"]["command"], compose["services"]["topics"]["command"]):
        assert words[0] in COMMANDS


def test_the_image_does_not_run_as_root() -> None:
    words = [word for word, _ in instructions()]
    assert dict(instructions())["USER"] == "pipeline"
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_the_health_check_asks_the_port_that_the_worker_listens_on() -> None:
    check = dict(instructions())["HEALTHCHECK"]
    command = json.loads(check[check.index("CMD") + 3 :])
    assert "/healthz" in command[2]
    assert "PIPELINE_HTTP_PORT" in command[2]
    compile(command[2], "healthcheck", "exec")
    assert "PIPELINE_HTTP_PORT=8080" in dict(instructions())["ENV"]
    assert "PIPELINE_HTTP_HOST=0.0.0.0" in dict(instructions())["ENV"]
    assert dict(instructions())["EXPOSE"] == "8080"


def test_the_environment_is_one_that_the_topology_knows_and_accepts(compose: dict[str, Any]) -> None:
    given = compose["services"]["worker"]["environment"]
    assert set(given) == set(VARIABLES)
    assert compose["services"]["topics"]["environment"] == given
    topology = load(ROOT / "topology.yaml", given)
    assert topology.kafka == "kafka:9092"
    assert topology.redis == "redis://redis:6379/0"
    assert topology.registry == "http://registry:8081"
    assert topology.group == "behavioural"
    assert topology.http_port == 8080


def test_the_worker_waits_for_all_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["worker"]["depends_on"] == {
        "kafka": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
        "registry": {"condition": "service_healthy"},
        "topics": {"condition": "service_completed_successfully"},
    }
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"], f"{name} waits for the health of {other}"


def test_redis_loses_and_evicts_nothing(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    words = redis["command"]
    assert words[words.index("--appendonly") + 1] == "yes"
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert redis["volumes"] == ["redis:/data"]


def test_kafka_is_the_version_that_the_tests_run_on(compose: dict[str, Any]) -> None:
    version = compose["services"]["kafka"]["image"].split(":")[1]
    assert f"<kafka.version>{version}</kafka.version>" in (ROOT / "tests" / "broker" / "pom.xml").read_text()
    assert compose["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_compose_itself_accepts_the_file_where_it_is_installed() -> None:
    asked = ["docker", "compose", "-f", str(DOCKER / "compose.yaml")]
    if not shutil.which("docker") or subprocess.run([*asked, "version"], capture_output=True).returncode != 0:
        return  # a machine without the plugin has the checks above
    subprocess.run([*asked, "config", "--quiet"], check=True)
