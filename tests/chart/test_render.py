"""What the chart renders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from chart.helm import ALL_VALUES, MAJORS, MINIMAL, VALUES_FILES, WITH_CRDS, objects, render, same_on_both
from lab.paths import CHART
from voice_agent.settings.credentials import CREDENTIALS
from voice_agent.worker.drain import HAND_OVER_SECONDS, SHUTDOWN_SECONDS


@pytest.mark.parametrize("name", ALL_VALUES)
def test_every_values_file_renders_the_same_twice_and_on_both_majors_of_helm(name: str) -> None:
    values = ALL_VALUES[name]
    first, *others = (same_on_both(render(values=values, helm=helm)) for helm in 2 * MAJORS)
    assert others == [first] * 3
    assert "e+0" not in first, "a number was rendered as a float"
    assert {"Deployment", "ServiceAccount"} <= {each["kind"] for each in objects(first)}


@pytest.mark.parametrize("name", ALL_VALUES)
def test_both_majors_of_helm_print_the_same_notes(name: str, tmp_path: Path) -> None:
    # `helm install` asks a cluster before it prints notes; `helm template` prints manifests only.
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    notes = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "notes.yaml").write_text(
        f'{{{{ define "notes" }}}}{notes}{{{{ end }}}}\nkind: Notes\ntext: {{{{ include "notes" . | toJson }}}}\n'
    )
    arguments = ("--show-only", "templates/notes.yaml")
    values = ALL_VALUES[name]
    [first], [second] = (objects(render(*arguments, values=values, chart=chart, helm=helm)) for helm in MAJORS)
    assert first == second
    assert "Voice agents" in first["text"]


def test_no_template_asks_a_cluster_or_chance() -> None:
    """GitOps tools render without a cluster, again and again, and apply what differs."""
    for path in (CHART / "templates").rglob("*.*"):
        for action in re.findall(r"\{\{.*?\}\}", path.read_text(), re.DOTALL):
            outside = re.sub(r'"[^"]*"|`[^`]*`|/\*.*?\*/', "", action, flags=re.DOTALL)
            found = re.findall(
                r"\b(lookup|rand\w+|gen[A-Z]\w+|uuidv4|now|shuffle|getHostByName|env|expandenv)\b", outside
            )
            assert not found, f"{path.name}: {action}"


def test_environments_differ_only_where_they_should() -> None:
    def shape(name: str) -> str:
        text = render(values=VALUES_FILES[name]).replace(f"my-project-{name}", "my-project")
        return re.sub(r"(minReplicas|maxReplicas): \d+|DEBUG|INFO", "", text)

    assert shape("dev") == shape("staging") == shape("prod")


def test_every_file_that_a_pod_reads_is_mounted_from_secret_manager() -> None:
    made = objects(render(values=WITH_CRDS["secret-manager"]))
    classes = {each["metadata"]["name"]: each["spec"] for each in made if each["kind"] == "SecretProviderClass"}
    for spec in classes.values():
        # All that the CRD has but `secretObjects`, which GKE's add-on does not support; parameters are text.
        assert spec.keys() == {"provider", "parameters"}
        assert all(isinstance(value, str) for value in spec["parameters"].values())
    readers = []
    for each in made:
        pod = each["spec"]["template"]["spec"] if each["kind"] == "Deployment" else each.get("spec", {})
        for volume in [volume for volume in pod.get("volumes", []) if "csi" in volume]:
            [container] = pod["containers"]
            [folder] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
            parameters = classes[volume["csi"]["volumeAttributes"]["secretProviderClass"]]["parameters"]
            mounted = {f"{folder}/{secret['path']}" for secret in yaml.safe_load(parameters["secrets"])}
            environment = {variable["name"]: variable.get("value") for variable in container["env"]}
            assert {environment.get(f"{name}_FILE") for name in CREDENTIALS} - {None} == mounted
            assert not CREDENTIALS & environment.keys()
            readers.append(container["name"])
    assert sorted(readers) == ["check", "keeper", "worker"]


def test_the_chart_knows_how_long_the_worker_takes_to_end() -> None:
    text = (CHART / "templates" / "_drain.tpl").read_text()
    assert f"-}}}}{SHUTDOWN_SECONDS}{{{{-" in text
    assert f"-}}}}{HAND_OVER_SECONDS}{{{{-" in text


@pytest.mark.parametrize("release", ["a" * 53, "voice-agent", "x"])
def test_names_stay_valid(release: str) -> None:
    for each in objects(render("--values", str(WITH_CRDS["monitoring"]), release=release)):
        name = each["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name), name
        labels = each["metadata"]["labels"].values()
        assert all(len(label) <= 63 for label in labels)


def test_the_chart_works_as_a_subchart_and_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "voice-agent").symlink_to(CHART)
    (tmp_path / "Chart.yaml").write_text(
        "apiVersion: v2\nname: parent\nversion: 1.0.0\n"
        "dependencies: [{name: voice-agent, version: '*', condition: voice-agent.enabled}]\n"
    )
    values = yaml.safe_load(MINIMAL.read_text())
    under = {"global": {"imageRegistry": "r.example", "other": 1}, "voice-agent": values}
    parent = tmp_path / "parent.yaml"
    parent.write_text(json.dumps(under))
    deployment = next(o for o in objects(render(values=parent, chart=tmp_path)) if o["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].startswith("r.example/")
    assert not objects(render("--set", "voice-agent.enabled=false", values=parent, chart=tmp_path))
