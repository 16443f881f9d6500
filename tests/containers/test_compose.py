"""docker-compose.yml: what both generations of compose make of it, and what it must never allow."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from attendance.config import Settings
from tools import container_secrets, mongodb_roles
from tools.environment import pins

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ["mongo", "roles", "chroma", "service", "service-gpu"]


def page_override() -> str:
    """The override that docs/containers.md shows for kiosks."""
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(services:\n.*?)```", page, re.DOTALL)
    return str(found)


def old_compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("missing program: docker-compose")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    # The folder of the file has no .env, which a checkout in use has.
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_it_follows_the_compose_specification() -> None:
    package = find_spec("check_jsonschema")
    assert package is not None and package.origin is not None
    schema_file = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(schema_file.read_text(encoding="utf-8"))
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert validator.is_valid(yaml.safe_load(page_override()))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose)] == []
    compose["services"]["mongo"]["helthcheck"] = {}
    assert not validator.is_valid(compose), "the schema would let anything pass"


def test_docker_compose_1_29_reads_it_as_it_is_meant(tmp_path: Path, compose: dict[str, Any]) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "override.yml").write_text(page_override(), encoding="utf-8")
    files = ["-f", str(tmp_path / "docker-compose.yml"), "-f", str(tmp_path / "override.yml")]
    done = old_compose("--profile", "gpu", *files, "config", ATTENDANCE_SECRETS="./secrets")
    assert done.returncode == 0 and done.stderr == ""
    read = yaml.safe_load(done.stdout)
    assert sorted(read["services"]) == sorted(SERVICES)
    assert read["networks"]["inside"] == {"internal": True}
    mongo = read["services"]["mongo"]
    assert mongo["ports"] == [{"published": 27017, "target": 27017}]
    assert {"--auth", "requireTLS"} <= set(mongo["command"])
    assert sorted(mongo["networks"]) == ["inside", "outside"]
    assert sorted(secret["source"] for secret in mongo["secrets"]) == ["mongo_ca", "mongo_root_password", "mongo_tls"]
    assert read["secrets"]["ledger_url"]["file"] == str(tmp_path / "secrets" / "ledger_url")
    for name, service in read["services"].items():
        assert service["mem_limit"] == compose["services"][name]["mem_limit"]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_nothing_starts_without_secrets(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    done = old_compose("-f", str(tmp_path / "docker-compose.yml"), "config")
    assert done.returncode != 0
    assert "run make secrets first" in done.stderr


def test_every_secret_is_a_file_that_make_secrets_writes(compose: dict[str, Any]) -> None:
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"${{ATTENDANCE_SECRETS:?run make secrets first}}/{name}"}
    written = {*container_secrets.PASSWORDS, *container_secrets.ADDRESSES}
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    # The kiosk's address goes to the kiosks, no container has use for it.
    assert written - used == {"kiosk_ledger_url"}


def test_no_password_stands_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.findall(r"(?i)(?:password|token|secret|key):\s*[\"']?[\w-]+[\"']?\s*$", text, re.MULTILINE) == []
    assert "@mongo" not in text


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_kept_small(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "cap_add" not in service and "pid" not in service
    assert all("docker.sock" not in volume for volume in service.get("volumes", []))
    assert service["logging"]["options"]["max-size"]
    limits = service["deploy"]["resources"]["limits"]
    # Compose refuses a file in which the two ways to say it differ.
    assert limits == {"cpus": str(service["cpus"]), "memory": service["mem_limit"]}
    assert service["pids_limit"] > 0
    tag = service["image"].partition(":")[2]
    assert tag not in ("", "latest")


def test_only_the_service_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name in ("service", "service-gpu"):
            assert service["ports"] == ["127.0.0.1:${ATTENDANCE_PORT:-8000}:8000"]
        else:
            assert "ports" not in service
            assert service["networks"] == ["inside"]
        assert "network_mode" not in service
    assert compose["networks"]["inside"] == {"internal": True}


def test_each_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"]
            else:
                assert how == {"condition": "service_completed_successfully"}
                assert services[other]["restart"] == "no", name
    assert set(services["service"]["depends_on"]) == {"mongo", "chroma", "roles"}


def test_chroma_is_the_release_of_its_client(compose: dict[str, Any]) -> None:
    locked = pins((ROOT / "requirements" / "product.lock").read_text(encoding="utf-8"))
    assert compose["services"]["chroma"]["image"] == f"chromadb/chroma:{locked['chromadb']}"


def test_what_the_containers_are_told_are_keys_of_the_configuration(compose: dict[str, Any]) -> None:
    for name in ("service", "service-gpu"):
        environment = compose["services"][name]["environment"]
        for variable, value in environment.items():
            section, _, key = variable.removeprefix("ATTENDANCE_").lower().partition("__")
            assert key in type(getattr(Settings(), section)).model_fields, variable
            if key.endswith("_file"):
                assert value == f"/run/secrets/{Path(value).name}"
                assert Path(value).name in compose["services"][name]["secrets"]


def test_the_roles_are_those_of_the_ledger(compose: dict[str, Any]) -> None:
    roles = compose["services"]["roles"]
    command = [*roles["entrypoint"], *roles["command"]]
    users = [command[i + 1 : i + 4] for i, word in enumerate(command) if word == "--user"]
    assert [(role, name) for role, name, _ in users] == [("operator", "service"), ("kiosk", "kiosk")]
    assert {role for role, _, _ in users} <= set(mongodb_roles.SHORT)
    named = {Path(word.removeprefix("@")).name for word in command if word.startswith("@/run/secrets/")}
    assert named == set(roles["secrets"])
    # The users of the addresses are the users that are made.
    made = {name for _, name, _ in users} | {compose["services"]["mongo"]["environment"]["MONGO_INITDB_ROOT_USERNAME"]}
    assert {user for _, user, _, _ in container_secrets.ADDRESSES.values()} == made
