"""The local cluster: brings all parts up in the right order, and down without a trace."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lab import metrics
from lab.cluster.base import (
    POD_SECURITY,
    ClusterError,
    ClusterStatus,
    NodeStatus,
    ProcessStatus,
    create_namespaces,
    node_statuses,
)
from lab.cluster.local import (
    addons,
    cgroups,
    control_plane,
    credentials,
    host,
    images,
    layout,
    network,
    packages,
    policies,
)
from lab.cluster.local import node as node_parts
from lab.cluster.local.credentials import KUBECONFIG, Credentials
from lab.cluster.local.layout import LOCK, LOGS, NODES, STATE, Node
from lab.cluster.local.processes import Processes
from lab.cluster.local.progress import Progress
from lab.images.scratch import write_archive
from lab.kubectl import CommandError, Kubectl
from lab.paths import tool

TOOLS = ("kubernetes", "pause", "coredns", "metrics-server")

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
ADDONS = ("coredns", "metrics-server")
ON_EVERY_NODE = ("containerd", "kubelet", "kube-proxy")

# How many follow what is asked of kubelets, kube-proxies and controllers, as the API server's own metrics tell it.
_FOLLOWERS = tuple(
    f'apiserver_longrunning_requests{{component="apiserver",group="{group}",resource="{resource}",scope="cluster",'
    'subresource="",verb="WATCH",version="v1"}'
    for group, resource in (("", "pods"), ("", "services"), ("discovery.k8s.io", "endpointslices"))
)

# A busy machine of two cores takes several times as long as a quiet one.
PATIENCE_SECONDS = 120.0


def _on(node: Node) -> list[str]:
    return [f"{node.name}-{program}" for program in ON_EVERY_NODE]


def _notes() -> tuple[str, ...]:
    v1 = "" if cgroups.is_v2() else " (cgroup v1: running out of memory kills one process, not its container)"
    return (
        "NetworkPolicies are enforced by kube-router, and only while a test asks for it.",
        f"both nodes share this machine's processors and memory{v1}.",
        f"quicker clocks than production's: autoscaler every {control_plane.HPA_SYNC_PERIOD}, metrics every "
        f"{addons.METRICS_RESOLUTION}, a lost node noticed after {control_plane.NODE_MONITOR_GRACE}.",
    )


class LocalCluster:
    """Two nodes, each a network namespace with its own containerd, kubelet and kube-proxy. Needs root."""

    def __init__(self) -> None:
        self._processes = Processes(STATE / "run", LOGS)
        self._kubectl = Kubectl(KUBECONFIG)
        self._followers: list[float] = []

    @contextmanager
    def _locked(self) -> Iterator[Progress]:
        """One ``up`` or ``down`` at a time, whoever calls it."""
        if sys.platform != "linux" or os.geteuid() != 0:
            raise ClusterError("LAB_CLUSTER=local needs root on Linux: use sudo, or LAB_CLUSTER=kind")
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Progress()

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return KUBECONFIG

    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return [node.name for node in NODES]

    def node_address(self, node: str) -> str:
        """The node's address on the bridge; the host reaches its NodePorts and pods directly."""
        return layout.node(node).address

    def create(self) -> None:
        """Bring the cluster up; does nothing when it is healthy, repairs what an earlier run left.

        Raises:
            ClusterError: a part did not come up; the message ends with its log's last lines.
        """
        with self._locked() as progress:
            status = self.status()
            if status.healthy:
                progress(f"the cluster is up: export KUBECONFIG={KUBECONFIG}")
                return
            packages.ensure(progress)
            for name in TOOLS:
                tool(name)
            host.refuse_other_checkout()
            if len(status.nodes) == len(NODES) and self._repair(progress):
                return
            if any(path != LOGS for path in STATE.glob("*")) or network.exists() or cgroups.members():
                progress("removing what an earlier run left")
                self._remove()
            self._create(progress)

    def destroy(self) -> None:
        """Take the cluster down; its logs stay until the next ``create``.

        Raises:
            ClusterError: another checkout's cluster runs, or a process cannot be killed.
        """
        with self._locked() as progress:
            host.refuse_other_checkout()
            self._remove()
            progress("the cluster is down")

    def load_image(self, archive: Path) -> None:
        """Put the images of a docker-archive tar into both nodes; what they have already costs nothing.

        Raises:
            ClusterError: the file is not a docker-archive, or a node's containerd refused it.
        """
        images.load(archive)

    def allow_egress(self) -> None:
        """Let pods reach, and look up, what this machine can."""
        network.allow_egress()
        addons.resolve_outside_names()

    def lose_node(self, node: str) -> None:
        """Cut the node's cable, then kill all that runs on it: no connection is closed, nobody is told."""
        lost = layout.node(node)
        network.cut(lost)
        cgroups.kill(lost.name, f"{cgroups.SYSTEM}/{lost.name}")

    def restore_node(self, node: str) -> None:
        """Boot the node again. Its images are still there, its containers are not.

        Raises:
            ClusterError: it did not become ready.
        """
        with self._locked() as progress:
            self._restore(layout.node(node), progress)

    def cut_node(self, node: str) -> None:
        """Pull the node's cable."""
        network.cut(layout.node(node))

    def mend_node(self, node: str) -> None:
        """Plug the node's cable in again."""
        network.mend(layout.node(node))

    def part(self, some: Sequence[str], others: Sequence[str]) -> None:
        """Drop what pods of these addresses send one another, on both nodes."""
        network.part(some, others)

    def unite(self) -> None:
        """Undo every ``part``."""
        network.unite()

    def enforce_policies(self) -> None:
        """Have kube-router enforce NetworkPolicies on both nodes.

        Raises:
            ClusterError: it did not come up.
        """
        policies.enforce(self._processes, Progress())

    def ignore_policies(self) -> None:
        """End kube-router, and take its rules away.

        Raises:
            ClusterError: the rules are still there.
        """
        policies.ignore(self._processes)

    def stop_api_server(self) -> None:
        """Kill the API server."""
        self._followers = self._follow()
        self._processes.end("kube-apiserver", signal.SIGKILL)

    def start_api_server(self) -> None:
        """Start the API server again, and wait until all who followed it before follow it again.

        They ask ever more rarely, up to a minute apart: what is asked of the cluster meanwhile, nobody does.

        Raises:
            ClusterError: it did not become ready, or is not followed.
        """
        self._processes.start(control_plane.api_server(Credentials()))
        self._wait("the API server", self._api_is_ready, CONTROL_PLANE[:2])
        # Both leave when they cannot renew their Lease (client-go's leader election).
        self._start_controllers(Credentials())
        self._wait("all who follow the API server", self._is_followed, CONTROL_PLANE)

    def status(self) -> ClusterStatus:
        """Nodes and processes. Processes are those beside the pods, ended ones included."""
        names = self._processes.names()
        if not names:
            return ClusterStatus(running=False, kubeconfig=KUBECONFIG)
        nodes: tuple[NodeStatus, ...] = ()
        if self._processes.pid("kube-apiserver") is not None:
            try:
                nodes = node_statuses(self._kubectl)
            except (CommandError, subprocess.TimeoutExpired, FileNotFoundError):
                nodes = ()
        return ClusterStatus(
            running=True,
            kubeconfig=KUBECONFIG,
            nodes=nodes,
            processes=tuple(ProcessStatus(name, self._processes.pid(name)) for name in names),
            notes=_notes(),
        )

    def _repair(self, progress: Progress) -> bool:
        """Start again what ended while the API server went on, pods kept; whether that was enough."""
        dead = [process.name for process in self.status().processes if process.pid is None]
        progress(f"starting again: {', '.join(dead) or 'nodes that are not ready'}")
        try:
            self._start_controllers(Credentials())
            self._start_addons(Credentials())
            for node in NODES:
                self._restore(node, progress)
        except ClusterError as error:
            progress(f"that was not enough: {error}")
        return self.status().healthy

    def _create(self, progress: Progress) -> None:
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir(parents=True)
        host.claim()
        host.share_mounts()
        cgroups.create()
        network.create()
        keys = credentials.create()
        progress("network, control groups and certificates are made")

        start = self._processes.start
        for node in NODES:
            node_parts.write_configuration(node, keys)
            start(node_parts.containerd(node))
        start(control_plane.etcd(keys))
        start(control_plane.api_server(keys))
        self._load_pause_image()
        progress("containerd runs on every node")
        self._wait("the API server", self._api_is_ready, CONTROL_PLANE[:2])
        progress("the API server is ready")

        self._start_controllers(keys)
        for node in NODES:
            self._start_kubelet(node, keys)
            start(node_parts.kube_proxy(node))
        create_namespaces(self._kubectl)
        self._wait("the system namespace", partial(self._asks, "get", "namespace", "kube-system"), CONTROL_PLANE)
        self._kubectl.in_namespace("kube-system").apply(*addons.manifests(keys))
        self._start_addons(keys)
        for node in NODES:
            self._wait(f"{node.name} Ready", partial(self._node_is_ready, node), _on(node))
            progress(f"{node.name} is Ready")
        self._wait("service accounts", self._service_accounts_exist, CONTROL_PLANE)
        self._wait("the metrics API", self._metrics_are_served, ADDONS)
        progress(f"the metrics API answers; export KUBECONFIG={KUBECONFIG}")

    def _start_kubelet(self, node: Node, keys: Credentials) -> None:
        """Start it, and wait for its socket, which all kubelets of a machine share: of two at once one ends."""
        before, daemon = node_parts.socket_made_at(), node_parts.kubelet(node, keys)
        self._processes.start(daemon)
        self._wait(f"{node.name}'s kubelet", lambda: node_parts.socket_made_at() != before, [daemon.name])

    def _start_controllers(self, keys: Credentials) -> None:
        self._processes.start(control_plane.controller_manager(keys))
        self._processes.start(control_plane.scheduler(keys))

    def _start_addons(self, keys: Credentials) -> None:
        self._processes.start(addons.coredns(keys))
        self._processes.start(addons.metrics_server(keys))

    def _restore(self, node: Node, progress: Progress) -> None:
        containerd, *others = _on(node)
        if self._processes.pid(containerd) is None:
            self._boot(node)
        elif all(self._processes.pid(name) is not None for name in others) and self._node_is_ready(node):
            return
        began = datetime.now(UTC)
        self._processes.start(node_parts.kubelet(node, Credentials()))
        self._processes.start(node_parts.kube_proxy(node))
        # A node that was lost only just now still counts as Ready; its lease tells when it was last heard of.
        self._wait(f"{node.name} reports", lambda: self._heard_of(node) > began, _on(node))
        self._wait(f"{node.name} Ready", partial(self._node_is_ready, node), _on(node))
        progress(f"{node.name} is Ready again")

    def _boot(self, node: Node) -> None:
        """Start a node's containerd on what a machine keeps when it boots: its disk."""
        network.cut(node)
        cgroups.kill(node.name, f"{cgroups.SYSTEM}/{node.name}")
        for name in _on(node):
            self._processes.forget(name)
        host.remove_shim_sockets(node.state)
        host.unmount(node.state)
        for folder in ("state", "runc"):
            shutil.rmtree(node.state / "containerd" / folder, ignore_errors=True)
        network.mend(node)
        self._processes.start(node_parts.containerd(node))
        self._wait(f"containerd on {node.name}", partial(self._answers, node), _on(node)[:1])

    def _remove(self) -> None:
        """Remove whatever there is of a cluster, in any state. Nothing is asked to end kindly."""
        cgroups.kill()
        for name in self._processes.names():
            self._processes.end(name, signal.SIGKILL)
            self._processes.forget(name)
        network.remove()
        host.restore()
        cgroups.remove()
        for path in STATE.glob("*"):
            if path == LOGS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _load_pause_image(self) -> None:
        archive = STATE / "pause.tar"
        write_archive(archive, layout.PAUSE_IMAGE, [tool("pause")])
        for node in NODES:
            self._wait(f"containerd on {node.name}", partial(self._answers, node), _on(node)[:1])
        images.load(archive)

    def _wait(self, what: str, condition: Callable[[], object], watched: Sequence[str]) -> None:
        self._processes.wait_for(what, condition, PATIENCE_SECONDS, watched)

    def _answers(self, node: Node) -> bool:
        try:
            images.ctr(node, "version")
        except ClusterError:
            return False
        return True

    def _asks(self, *args: str) -> str:
        """What kubectl says; nothing when it fails."""
        try:
            return self._kubectl.run(*args, "--request-timeout=5s", timeout=20)
        except (CommandError, subprocess.TimeoutExpired):
            return ""

    def _api_is_ready(self) -> bool:
        return self._asks("get", "--raw=/readyz") == "ok"

    def _follow(self) -> list[float]:
        """How many watch each of what is followed, in all namespaces."""
        text = self._asks("get", "--raw=/metrics")
        return [metrics.value(text, sample) for sample in _FOLLOWERS]

    def _is_followed(self) -> bool:
        return all(now >= before for now, before in zip(self._follow(), self._followers, strict=False))

    def _node_is_ready(self, node: Node) -> bool:
        condition = '{.status.conditions[?(@.type=="Ready")].status}'
        return self._asks("get", "node", node.name, f"-o=jsonpath={condition}") == "True"

    def _heard_of(self, node: Node) -> datetime:
        renewed = self._asks("get", "lease", node.name, "--namespace=kube-node-lease", "-o=jsonpath={.spec.renewTime}")
        return datetime.fromisoformat(renewed) if renewed else datetime.min.replace(tzinfo=UTC)

    def _service_accounts_exist(self) -> bool:
        return all(
            self._asks("get", "serviceaccount", "default", f"--namespace={namespace}", "-o=name")
            for namespace in POD_SECURITY
        )

    def _metrics_are_served(self) -> bool:
        return bool(self._asks("get", "--raw=/apis/metrics.k8s.io/v1beta1/nodes"))
