"""Files that are made from others: ``make generate`` writes them, a test says when they drift."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import features
from lab.matrix import records
from lab.matrix.records import Record
from lab.paths import CHART, ROOT, VALUES, tool
from lab.version import carriers
from voice_agent.settings import markdown_tables

GOLDENS = ROOT / "tests" / "chart" / "goldens"
# Values whose objects need CRDs, which the cluster that `ct` installs into has not.
WITH_CRDS = ROOT / "tests" / "chart" / "values"
EVERYTHING = CHART / "tests" / "values" / "everything.yaml"
IMAGE_README = ROOT / "images" / "agent" / "README.md"
COMPARISON = ROOT / "docs" / "comparison.md"
README = ROOT / "README.md"
DISRUPTIONS = ROOT / "docs" / "disruptions.md"
# Where a table goes in a page that is written by hand; in the chart's README the first line alone.
_BEGINS = "<!-- {}: written by `make generate` -->\n"
_ENDS = "<!-- end of {} -->"


def values_files() -> dict[str, Path]:
    """Every set of values that the repository ships, by the name of its golden."""
    ci = {f"ci-{path.stem.removesuffix('-values')}": path for path in sorted((CHART / "ci").glob("*.yaml"))}
    return {path.stem: path for path in sorted(VALUES.glob("*.yaml"))} | ci


def values_with_crds() -> dict[str, Path]:
    """The sets of values that need CRDs, by the name of their golden."""
    return {path.stem: path for path in [EVERYTHING, *sorted(WITH_CRDS.glob("*.yaml"))]}


def generators() -> dict[Path, Callable[[], str]]:
    """Each generated file and what makes its text."""
    goldens = {GOLDENS / f"{name}.yaml": _golden(path) for name, path in (values_files() | values_with_crds()).items()}
    return {
        # First: the other files are made from these.
        **carriers(),
        CHART / "values.schema.json": _schema,
        CHART / "README.md": _chart_readme,
        IMAGE_README: lambda: _with_table(IMAGE_README, "settings", markdown_tables()),
        COMPARISON: lambda: _with_table(COMPARISON, "comparison", features.comparison()),
        README: lambda: _with_table(README, "headline", records.headline(_records())),
        DISRUPTIONS: lambda: _with_table(DISRUPTIONS, "figures", records.report(_records())),
        **goldens,
    }


def generate() -> None:
    """Write every generated file, and remove goldens that nothing makes any more."""
    made = generators()
    for path, make in made.items():
        text = make()
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"generate: wrote {path.relative_to(ROOT)}")
    for stale in set(GOLDENS.glob("*.yaml")) - made.keys():
        stale.unlink()
        print(f"generate: removed {stale.relative_to(ROOT)}")


def _output(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=CHART, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"generate: {command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _schema() -> str:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "schema.json"
        _output(tool("helm-values-schema-json"), "--output", output)
        schema = json.loads(output.read_text())
    _require_what_has_no_null(schema)
    admit_removed(schema, yaml.safe_load((CHART / "removed.yaml").read_text()) or {})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _require_what_has_no_null(schema: dict[str, Any]) -> None:
    """Have ``helm`` say which value is missing where a template would fail on it.

    Helm takes a value that a values file sets to null out of the values before it asks the schema
    (https://helm.sh/docs/chart_template_guide/values_files/#deleting-a-default-key).
    """
    properties = schema.get("properties", {})
    for each in properties.values():
        _require_what_has_no_null(each)
    if required := sorted(name for name, each in properties.items() if not _admits_null(each)):
        schema["required"] = required


def admit_removed(schema: dict[str, Any], removed: Mapping[str, str]) -> None:
    """Have the schema let values pass that the chart's templates refuse in words of their own.

    Args:
        schema: of the chart's values; it is changed.
        removed: by the paths of values, with points between the keys, what to use instead.
    """
    for path in removed:
        *groups, name = path.split(".")
        level = schema
        for group in groups:
            level = level["properties"].setdefault(
                group, {"type": "object", "properties": {}, "additionalProperties": False}
            )
        level["properties"][name] = {"description": f"No more: {removed[path]}"}


def _admits_null(schema: dict[str, Any]) -> bool:
    own = [schema, *schema.get("allOf", [])]
    return all("null" in each.get("type", ["null"]) for each in own)


def _chart_readme() -> str:
    text = _output(tool("helm-docs"), "--dry-run", "--sort-values-order=file", "--log-level=error").rstrip() + "\n"
    return text.replace(_BEGINS.format("features"), features.chart_table())


def _with_table(page: Path, name: str, table: str) -> str:
    before, begins, rest = page.read_text().partition(_BEGINS.format(name))
    _, ends, after = rest.partition(_ENDS.format(name))
    return f"{before}{begins}{table}{ends}{after}"


def _records() -> list[Record]:
    return records.read(DISRUPTIONS.with_suffix(".jsonl"))


def _golden(values: Path) -> Callable[[], str]:
    def make() -> str:
        return _output(tool("helm"), "template", "demo", CHART, "--namespace", "voice-agent", "--values", values)

    return make
