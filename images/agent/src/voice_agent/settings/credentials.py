"""Credentials: from the environment, or from files that variables with the suffix `_FILE` name.

The suffix is what the images of databases have made common. It serves whatever mounts secrets as files: GKE's Secret
Manager add-on, which can do nothing else, Vault's agent, Docker.

A file is read once, when a process starts. LiveKit's and Google's libraries keep the key that they were given, so a
secret that is rotated is taken up by the pods that start after that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path

from voice_agent.settings.problem import Problem, hidden

CREDENTIALS = frozenset(
    {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "GOOGLE_API_KEY", "KEEPER_SECRET", "STATE_KEYS", "REDIS_PASSWORD"}
)
# What LiveKit's and Google's libraries look for in the environment by themselves.
_OF_LIBRARIES = frozenset({"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "GOOGLE_API_KEY"})


class _UnusableError(Exception):
    """A file has no credential."""


def file_variable(variable: str) -> str:
    """The variable that names the file of a credential."""
    return f"{variable}_FILE"


def read_files(variables: Collection[str], environment: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    """The credentials among `variables` that come from files, and what is wrong with the others."""
    found = {}
    problems = []
    for variable in sorted(CREDENTIALS.intersection(variables)):
        setting = file_variable(variable)
        path = environment.get(setting, "").strip()
        if not path:
            continue
        if environment.get(variable, "").strip():
            problems.append(Problem(setting, _shown(path), f"{variable} is set, too", "unset one of the two"))
            continue
        try:
            found[variable] = _read(path)
        except _UnusableError as error:
            fix = f"set it to the path of a file that holds nothing but the credential, or set {variable} instead"
            problems.append(Problem(setting, _shown(path), str(error), fix))
    return found, problems


def sources(variables: Collection[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Where each of the credentials among `variables` that are set comes from: its file, or `the environment`."""
    found = {}
    for variable in sorted(CREDENTIALS.intersection(variables)):
        if path := environment.get(file_variable(variable), "").strip():
            found[variable] = _shown(path)
        elif environment.get(variable, "").strip():
            found[variable] = "the environment"
    return found


def lend_to_libraries(environment: MutableMapping[str, str]) -> None:
    """Put what comes from files where LiveKit's and Google's libraries look for it: into the process's environment.

    A team's agent may make a `google.realtime.RealtimeModel()` or a `LiveKitAPI()` without arguments, here or in the
    process of a call, which inherits this environment by way of the forkserver. That shows the keys to no one who
    cannot read the files. Credentials that no library asks for stay out of it.
    """
    found, _ = read_files(_OF_LIBRARIES, environment)
    for variable, value in found.items():
        environment[variable] = value
        # Processes that start from here on find it in one place only.
        del environment[file_variable(variable)]


def _read(path: str) -> str:
    file = Path(path)
    if not file.is_absolute():
        raise _UnusableError("it is not an absolute path")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeError:
        raise _UnusableError("the file is no UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise _UnusableError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    # Editors and `echo` end a file with it.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise _UnusableError("the file is empty")
    if not text.isprintable():
        raise _UnusableError("the file has several lines, or characters that cannot be printed")
    return text


def _shown(path: str) -> str:
    # Else it may be the credential itself, by mistake.
    return path if path.startswith("/") else hidden(path)
