"""What the GitOps examples point at is there, and is what the environments' values render."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chart.helm import VALUES_FILES, objects, render
from lab.paths import CHART, ROOT

GITOPS = ROOT / "examples" / "gitops"
# The lab's own, and the baseline that is compared with.
OTHERS = {"local", "blueprint"}


def documents(name: str) -> dict[str, Any]:
    return {each["kind"]: each["spec"] for each in yaml.safe_load_all((GITOPS / name).read_text())}


def test_argo_cd_has_an_application_for_each_environment() -> None:
    spec = documents("argocd-applicationset.yaml")["ApplicationSet"]
    environments = [element["environment"] for element in spec["generators"][0]["list"]["elements"]]
    assert set(environments) == {name for name in VALUES_FILES if not name.startswith("ci-")} - OTHERS

    source = spec["template"]["spec"]["source"]
    chart = ROOT / source["path"]
    assert chart == CHART
    for environment in environments:
        [named] = source["helm"]["valueFiles"]
        values = (chart / named.replace("{{ .environment }}", environment)).resolve()
        assert objects(render("--skip-tests", values=values, release=source["helm"]["releaseName"]))


def test_flux_installs_one_environment_of_the_repository_that_it_fetches() -> None:
    documents_ = documents("flux-helmrelease.yaml")
    chart = documents_["HelmRelease"]["chart"]["spec"]
    assert "url" in documents_[chart["sourceRef"]["kind"]]
    assert (ROOT / chart["chart"]).resolve() == CHART
    defaults, values = (Path(ROOT, each).resolve() for each in chart["valuesFiles"])
    assert objects(render("--skip-tests", "--values", str(defaults), values=values))
