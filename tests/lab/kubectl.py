"""kubectl and helm against one cluster, with failures that show what to look at next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.paths import CHART, tool

WAITING = ("wait", "rollout")
# Helm's words for a release whose last operation has not ended.
PENDING = "another operation (install/upgrade/rollback) is in progress"


class CommandError(Exception):
    """A command failed; the message holds the command and all that it printed."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl (and helm) with a kubeconfig and a default namespace."""

    kubeconfig: Path
    namespace: str = "voice-agent"

    def in_namespace(self, namespace: str) -> Kubectl:
        """The same cluster seen from another namespace."""
        return Kubectl(self.kubeconfig, namespace)

    def command(self, program: str, *args: str) -> list[str]:
        """The argument list that runs ``program`` (kubectl or helm) here."""
        return [str(tool(program)), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *args]

    def _run(self, program: str, args: tuple[str, ...], stdin: str | None, timeout: float) -> str:
        command = self.command(program, *args)
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment)
        if done.returncode != 0:
            shown = " ".join([program, *args])
            raise CommandError(f"{shown} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout

    def run(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl and return its output.

        Raises:
            CommandError: it exited with another status than 0. For a command that waits (`wait`, `rollout`), the
                pods, events and logs were printed before.
        """
        try:
            return self._run("kubectl", args, stdin, timeout)
        except CommandError:
            if args[0] in WAITING:
                self.explain()
            raise

    def get(self, *args: str) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.run("get", *args, "-o", "json"))

    def items(self, *args: str) -> list[Any]:
        """The items of a list that ``kubectl get`` returns."""
        found: list[Any] = self.get(*args)["items"]
        return found

    def wait_logged(self, pod: str, words: str, timeout: float) -> None:
        """Follow a pod's log until a line has ``words``; what it has logged already counts.

        Args:
            pod: a pod of one container that has started.
            words: a part of the line.
            timeout: in seconds.

        Raises:
            CommandError: the log ended, or the time did, without them; pods, events and logs were printed before.
        """
        command = self.command("kubectl", "logs", "--follow", pod)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as following:
            expiry = threading.Timer(timeout, following.kill)
            expiry.start()
            try:
                found = any(words in line for line in following.stdout or ())
            finally:
                expiry.cancel()
                following.kill()
        if found:
            return
        self.explain()
        raise CommandError(f"{pod} in {self.namespace} did not log {words!r} (limit {timeout:g} s)")

    def apply(self, *documents: dict[str, Any]) -> None:
        """Server-side apply of manifests given as objects."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listing), timeout=60)

    def define(self, *files: Path) -> list[str]:
        """Server-side apply of files with CustomResourceDefinitions; waits until the API server has their kinds.

        Returns:
            the definitions' names.

        Raises:
            CommandError: a definition was refused, or its kind did not come.
        """
        # Some are too large for a client-side apply's annotation.
        self.run("apply", "--server-side", *(f"--filename={file}" for file in files))
        definitions = [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]
        names = [str(each["metadata"]["name"]) for each in definitions]
        for name, definition in zip(names, definitions, strict=True):
            kind = definition["spec"]["names"]["kind"]
            # Before its names are accepted it has no conditions, which kubectl takes for an error.
            self.run("wait", f"--for=jsonpath={{.status.acceptedNames.kind}}={kind}", f"crd/{name}")
            self.run("wait", "--for=condition=Established", f"crd/{name}")
        return names

    def helm(self, *args: str, timeout: float = 900) -> str:
        """Run helm and return its output.

        Raises:
            CommandError: it exited with another status than 0.
        """
        return self._run("helm", args, None, timeout)

    def install(self, release: str, *args: str, wait: float = 300, chart: Path = CHART) -> str:
        """``helm upgrade --install`` of the chart; waits ``wait`` seconds at the most for readiness.

        An operation that a run left unfinished when it was interrupted is given up first.

        Raises:
            CommandError: helm failed; the pods, events and logs were printed before.
        """
        upgrade = ("upgrade", "--install", release, str(chart), "--wait", f"--timeout={int(wait)}s", *args)
        try:
            try:
                return self.helm(*upgrade)
            except CommandError as error:
                if PENDING not in str(error):
                    raise
                self._give_up_operation(release)
                return self.helm(*upgrade)
        except CommandError:
            self.explain()
            raise

    def _give_up_operation(self, release: str) -> None:
        sys.stderr.write(f"helm: an earlier run was interrupted while it changed {release}; that change is undone\n")
        [newest] = json.loads(self.helm("history", release, "--max=1", "--output=json"))
        if newest["revision"] == 1:
            self.helm("uninstall", release, "--wait")
        else:
            self.helm("rollback", release)

    def explain(self, lines: int = 25) -> None:
        """Print what a person would look at next: pods, recent events, the last log lines of each pod."""
        for title, args in (
            ("pods", ("get", "pods", "-o", "wide")),
            ("events", ("get", "events", "--sort-by=.lastTimestamp")),
        ):
            newest = "\n".join(self._attempt(*args).splitlines()[-lines:])
            sys.stderr.write(f"--- {title} in {self.namespace}\n{newest}\n")
        for pod in self._attempt("get", "pods", "-o", "name").split():
            sys.stderr.write(f"--- logs of {pod}\n")
            sys.stderr.write(self._attempt("logs", pod, "--all-containers", f"--tail={lines}") + "\n")

    def keep_logs(self, folder: Path, seconds: float) -> None:
        """Write what each pod has logged in the last so many seconds to a file of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        for pod in self._attempt("get", "pods", "-o", "name").split():
            said = self._attempt("logs", pod, "--all-containers", f"--since={int(seconds)}s")
            (folder / f"{pod.rpartition('/')[2]}.log").write_text(said)

    def _attempt(self, *args: str) -> str:
        try:
            return self.run(*args, timeout=30)
        except (CommandError, subprocess.TimeoutExpired) as error:
            return str(error)
