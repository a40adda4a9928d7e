"""`livelog deploy`: each file with the reader's values, and that what the files name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

from livelog.cli.deploy import FILES, VALUES, filled
from livelog.config import OPTIONS, Config, load
from livelog.net.http.routes import INTERNAL_ROUTES, ROUTES
from tests.support.process import ROOT, Start, ended

DEPLOY = ROOT / "livelog" / "web" / "deploy"
KUBECTL, ANALYZE = shutil.which("kubectl") or "", shutil.which("systemd-analyze") or ""
SAMPLES = {
    "name": "live.example.com",
    "host": "10.1.2.3",
    "port": "9321",
    "path": "/some/where",
    "store": "/srv/live/log.db",
    "user": "logger",
    "program": "/usr/bin/livelog",
    "config": "/etc/live.toml",
    "cert": "/etc/tls/c.pem",
    "key": "/etc/tls/k.pem",
    "image": "registry.example.com/livelog:2",
    "engine": "nats://n7:4222/live",
}
OLD = {
    "name": "example.org",
    "port": "8000",
    "path": "/logs",
    "user": "DynamicUser",
    "program": "/opt/livelog",
    "config": "/etc/livelog/livelog.toml",
    "cert": "/etc/ssl/livelog.pem",
    "key": "/etc/ssl/livelog.key",
    "engine": "nats://nats:4222/prod",
}
"""Value → the text that must be gone once it is given, where it stands for the value alone."""
TAKEN = [(name, value) for name, (_, _, places) in FILES.items() for value in places]


@pytest.mark.parametrize("name", FILES)
def test_without_values_a_file_is_printed_as_it_is(start: Start, name: str) -> None:
    if name in ("systemd", "dashboard"):  # the rest without a process for each
        code, out, err = ended(start("deploy", name))
        assert (code, err) == (0, "")
    else:
        out = filled(name, {})
    assert out == (DEPLOY / FILES[name][0]).read_text()


def test_every_file_is_printed_by_some_name() -> None:
    there = {file.name for file in DEPLOY.iterdir()}
    assert there == {file for file, _, _ in FILES.values()}


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_a_value_is_in_each_of_its_places(name: str, value: str) -> None:
    before, after = filled(name, {}), filled(name, {value: SAMPLES[value]})
    assert after != before
    for old, _ in FILES[name][2][value]:
        assert old in before
    if value == "store" and "/data" in before:
        assert "/srv/live" in after
        assert "/data" not in after
    else:
        assert SAMPLES[value] in after
    uses_it_otherwise = value == "port" and name in ("compose", "systemd")  # inside the container
    if value in OLD and not uses_it_otherwise:
        assert OLD[value] not in after


def test_all_values_together_leave_nothing_unfilled() -> None:
    for name, (_, _, places) in FILES.items():
        text = filled(name, {value: SAMPLES[value] for value in places})
        assert "{}" not in text.replace(": {}", "")
        assert "{folder}" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["systemdd"], "did you mean 'systemd'?"),
        ([], "which file?"),
        (["nginx", "--store", "/x"], "--store: nginx has no place for it; it takes --host, --port"),
        (["dashboard", "--port", "80"], "it takes no values"),
        (["nginx", "--port", "70000"], "'70000' is not allowed"),
        (["nginx", "--name", "a b; return 301"], "is not allowed"),
        (["nginx-path", "--path", "logs"], "is not allowed"),
        (["systemd", "--store", "/a\nExecStart=/bin/sh"], "is not allowed"),
    ],
)
def test_what_does_not_fit_is_said(start: Start, arguments: list[str], said: str) -> None:
    code, out, err = ended(start("deploy", *arguments))
    assert (code, out) == (2, "")
    assert said in err
    if len(arguments) < 2:
        assert all(f"  {name} " in err for name in FILES)


def test_values_are_of_a_form_that_needs_no_quotes() -> None:
    for value, sample in SAMPLES.items():
        assert re.fullmatch(VALUES[value].pattern, sample)
        for bad in (" ", ";", '"', "'", "\n", "$", "{", "}", "\\"):
            assert not re.fullmatch(VALUES[value].pattern, sample + bad), (value, bad)


# The units of systemd. Others are in test_systemd, test_nginx, test_alerts and test_deploy_nodes.


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
def test_the_socket_and_a_filled_unit_are_valid(tmp_path: Path) -> None:
    program = shutil.which("true") or ""
    for name, values in (
        ("systemd", {"program": program, "user": "root", "store": "/srv/l.db", "port": "9000"}),
        ("systemd-socket", {"port": "9000"}),
    ):
        (tmp_path / FILES[name][0]).write_text(filled(name, values))
    files = [str(file) for file in tmp_path.iterdir()]
    done = subprocess.run([ANALYZE, "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Containers.


def variables(text: str) -> dict[str, str]:
    """The settings that a file gives as variables, in any of the three forms there are."""
    forms = [
        r"^ *(?:ENV )?(LIVELOG_\w+)=(\S+)",
        r"^ *(?:# )?(LIVELOG_\w+): \"?(.*?)\"?(?: +#.*)?$",
        r"name: (LIVELOG_\w+), value: \"?([^\"}]+)\"?}",
    ]
    return {name: value for form in forms for name, value in re.findall(form, text, re.MULTILINE)}


@pytest.mark.parametrize("name", ["container", "compose", "kubernetes"])
def test_the_settings_in_a_file_are_such_as_the_server_takes(name: str) -> None:
    found = variables(filled(name, {}))
    assert all(each.removeprefix("LIVELOG_").lower() in OPTIONS for each in found)
    given = load({}, found).given
    assert given["store" if name != "compose" else "api_keys"]


def test_the_container_starts_the_server_and_asks_a_path_that_there_is() -> None:
    text = filled("container", {})
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)", text, re.MULTILINE)[0]) == ["livelog"]
    assert json.loads(re.findall(r"^CMD (.*)", text, re.MULTILINE)[0]) == ["serve"]
    paths = re.findall(r"http://127\.0\.0\.1:\d+(/\w+)", text + filled("compose", {}))
    assert len(paths) == 2
    assert all(path in ROUTES for path in paths)
    [extras] = re.findall(r"'/src\[(.*?)\]'", text)
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


def test_the_image_of_the_compose_file_is_made_from_a_file_that_there_is() -> None:
    text = filled("compose", {})
    [context] = re.findall(r"context: (\S+)", text)
    [file] = re.findall(r"dockerfile: (\S+)", text)
    assert (DEPLOY / context / file).resolve() == DEPLOY / "Containerfile"


def is_compose_file(path: Path, text: str) -> bool:
    """Hold a file against the schema of compose files, as Compose does before anything else."""
    pytest.importorskip("check_jsonschema")
    path.write_text(text)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("name", ["compose", "compose-nodes"])
def test_a_compose_file_is_as_compose_takes_it(tmp_path: Path, name: str) -> None:
    file, text = tmp_path / "compose.yaml", filled(name, {"image": "registry.example.com/l:1"})
    assert is_compose_file(file, text)
    for right, wrong in (("restart:", "restrat:"), ("  image: ", "  imgae: ")):
        assert not is_compose_file(file, text.replace(right, wrong))
    used = yaml.safe_load(text)
    for service in used["services"].values():
        assert {*service.get("depends_on", ())} <= used["services"].keys()
        named = [each.partition(":")[0] for each in service["volumes"]]
        assert {each for each in named if not each.startswith(".")} <= used["volumes"].keys()


# Kubernetes.


def test_the_manifests_are_as_a_cluster_takes_them() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    manifests = list(yaml.safe_load_all(filled("kubernetes", {})))
    for manifest in manifests:
        validate(manifest, "1.31", strict=True)
    pod = manifests[-1]["spec"]["template"]["spec"]
    for where, name in ((pod, "terminationGraceSeconds"), (pod["containers"][0], "livenesProbe")):
        where[name] = 30
        with pytest.raises(Exception, match=name):
            validate(manifests[-1], "1.31", strict=True)
        del where[name]
    claims = manifests[-1]["spec"]["volumeClaimTemplates"]
    mounted = [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
    assert mounted == [claim["metadata"]["name"] for claim in claims]


def values_of(text: str, name: str) -> list[str]:
    return re.findall(rf"\b{name}: \"?([\w./:-]+)", text)


def test_a_pod_has_the_time_that_a_drain_takes() -> None:
    text, config = filled("kubernetes", {}), Config()
    assert config.net.drain_seconds == 10
    given = variables(text)
    drain = float(given["LIVELOG_DRAIN_SECONDS"]) + float(given["LIVELOG_CLOSE_TIMEOUT"])
    assert int(values_of(text, "terminationGracePeriodSeconds")[0]) >= 2 * drain
    grace = re.findall(r"stop_grace_period: (\d+)s", filled("compose", {}))
    assert int(grace[0]) >= 2 * drain


def test_the_probes_ask_paths_and_ports_that_there_are() -> None:
    text = filled("kubernetes", {})
    probes = re.findall(r"(\w+)Probe:\n +httpGet: {path: (\S+), port: (\w+)}", text)
    assert probes == [
        ("startup", "/healthz", "http"),
        ("liveness", "/healthz", "http"),
        ("readiness", "/readyz", "http"),
    ]
    assert all(path in ROUTES for _, path, _ in probes)
    assert "/metrics" in INTERNAL_ROUTES
    given = variables(text)
    ports = dict(re.findall(r"name: (\w+), containerPort: (\d+)", text))
    assert ports == {"http": given["LIVELOG_PORT"], "metrics": given["LIVELOG_METRICS_PORT"]}
    assert set(values_of(text, "targetPort")) == {"http", "metrics"}


@pytest.mark.skipif(not KUBECTL, reason="kubectl is not installed")
@pytest.mark.parametrize("values", [{}, SAMPLES])
def test_the_manifests_are_yaml_and_belong_together(tmp_path: Path, values: dict[str, str]) -> None:
    taken = {value: text for value, text in values.items() if value in FILES["kubernetes"][2]}
    (tmp_path / "kubernetes.yaml").write_text(filled("kubernetes", taken))
    # Parsed and given a common prefix, which kustomize puts into each reference that it finds.
    (tmp_path / "kustomization.yaml").write_text("resources: [kubernetes.yaml]\nnamePrefix: x-\n")
    done = subprocess.run(
        [KUBECTL, "kustomize", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    kinds = sorted(re.findall(r"^kind: (\w+)", done.stdout, re.MULTILINE))
    assert kinds == ["PodDisruptionBudget", "Service", "Service", "StatefulSet"]
    assert values_of(done.stdout, "serviceName") == ["x-livelog-nodes"]


def test_what_selects_the_pods_is_what_they_are_called() -> None:
    text = filled("kubernetes", {})
    labels: list[Any] = re.findall(r"(?:selector|matchLabels|labels): {app: (\w+)}", text)
    assert len(labels) >= 6
    assert set(labels) == {"livelog"}
    assert re.findall(r"name: data, mountPath: (\S+)}", text) == ["/data"]
    assert variables(text)["LIVELOG_STORE"].startswith("/data/")
