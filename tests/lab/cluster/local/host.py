"""What the cluster changes on the machine outside of its own folder, and how that is put back."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local import cgroups
from lab.cluster.local.layout import CNI_NETWORK, STATE
from lab.cluster.local.network import NETNS_FOLDER

# Outside of the checkout: a second checkout, or one that was deleted, must be noticed.
RECORD = Path("/run/voice-agent-lab.json")

# kubelet sets these when it starts (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    # Ours, when pods are let out.
    "net/ipv4/ip_forward",
)

# Paths that containerd, its shims, kubelet and libcni use whatever their settings say.
CONTAINER_LOGS = Path("/var/log/containers")
CNI_CACHE = Path("/var/lib/cni")
SHIM_SOCKETS = Path("/run/containerd")
FIXED_FOLDERS = (CONTAINER_LOGS, CNI_CACHE, SHIM_SOCKETS)


@dataclass(frozen=True)
class Record:
    """The machine as it was before."""

    state: str
    """The state folder of the cluster that runs."""
    sysctls: dict[str, str]
    netns_mounted: bool
    """Whether ``ip netns`` had made its mount before."""
    folders: list[str]
    """Those of the fixed folders that were there before."""


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def read_record() -> Record | None:
    """What an earlier ``create`` wrote; None when the cluster was taken down since."""
    try:
        return Record(**json.loads(RECORD.read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def refuse_other_checkout() -> None:
    """Leave alone a running cluster that belongs to another checkout.

    Raises:
        ClusterError: there is one. A cluster whose checkout was deleted is nobody's.
    """
    record = read_record()
    if record and record.state != str(STATE) and Path(record.state).exists() and cgroups.members():
        raise ClusterError(f"the cluster of another checkout is running ({record.state}): run `make down` there first")


def claim() -> None:
    """Remember the machine as it is, unless what an earlier run remembered still waits to be put back."""
    if read_record() is None:
        record = Record(
            state=str(STATE),
            sysctls={name: Path("/proc/sys", name).read_text().strip() for name in SYSCTLS},
            netns_mounted=str(NETNS_FOLDER) in _mounts(),
            folders=[str(folder) for folder in FIXED_FOLDERS if folder.exists()],
        )
        RECORD.write_text(json.dumps(asdict(record)))


def share_mounts() -> None:
    """Make the state folder a mount of its own that is shared, as containers' volumes may ask for.

    The usual ``mount --make-rshared /`` would change the whole machine.
    """
    for command in (("--bind", str(STATE), str(STATE)), ("--make-rshared", str(STATE))):
        subprocess.run(["mount", *command], check=True)


def unmount(folder: Path) -> None:
    """Unmount everything in a folder, and the folder itself."""
    prefix = f"{folder}/"
    for mount in reversed(_mounts()):
        if mount == str(folder) or mount.startswith(prefix):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def remove_shim_sockets(node_state: Path) -> None:
    """Remove the sockets of a node's containers, which are not in its folder; no container may run."""
    for address in node_state.glob("containerd/state/io.containerd.runtime.v2.task/*/*/address"):
        Path(address.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_cni_results() -> None:
    """Remove what libcni remembers of our pods; their loopback interfaces are filed under a shared name."""
    for result in (CNI_CACHE / "results").glob(f"{CNI_NETWORK}-*-eth0"):
        sandbox = result.name.removeprefix(f"{CNI_NETWORK}-").removesuffix("-eth0")
        result.unlink()
        result.with_name(f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)


def restore() -> None:
    """Put back what ``claim`` remembered and remove what the cluster's programs left; no process may run."""
    record = read_record()
    state = Path(record.state) if record else STATE
    for node_state in state.glob("*"):
        remove_shim_sockets(node_state)
    unmount(state)
    for link in CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(state):
            link.unlink()
    _remove_cni_results()
    if record is None:
        return
    for name, value in record.sysctls.items():
        Path("/proc/sys", name).write_text(value)
    for folder in FIXED_FOLDERS:
        if str(folder) not in record.folders and all(p.is_dir() for p in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
    if not record.netns_mounted and NETNS_FOLDER.exists() and not any(NETNS_FOLDER.iterdir()):
        unmount(NETNS_FOLDER)
        NETNS_FOLDER.rmdir()
    RECORD.unlink()
