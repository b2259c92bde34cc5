"""The operator's agent: an ordinary `livekit.agents.Agent` subclass, named by AGENT_CLASS."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from inspect import isclass

from livekit.agents import Agent
from livekit.agents.utils import is_given

from voice_agent.settings import Problem, SettingsError

# What `livekit.agents.get_job_context` says outside of a call.
_NO_CALL = "no job context found"


def load(path: str) -> Callable[[], Agent]:
    """The class that `path` (`package.module:Class`) names.

    Raises:
        SettingsError: it cannot be imported, or is no `livekit.agents.Agent`.
    """
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise _error(
                path,
                f"there is no module {error.name}",
                "install the package in the image, or put its folder on PYTHONPATH; check the spelling",
            ) from error
        raise _error(
            path,
            f"{module_name} imports {error.name}, which is not there",
            f"install the package that has {error.name} in the image",
        ) from error
    except Exception as error:
        raise _error(path, f"importing {module_name} failed: {_last_line(error)}", "mend the module") from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = sorted(name for name, value in vars(module).items() if _is_agent(value) and value is not Agent)
        known = f"it has {', '.join(classes)}" if classes else "it has no agent class"
        raise _error(path, f"{module_name} has no {class_name}", f"name a class of that module: {known}")
    if not _is_agent(found):
        raise _error(
            path,
            f"{class_name} is not a subclass of livekit.agents.Agent",
            f"make it one: class {class_name}(livekit.agents.Agent)",
        )
    make: Callable[[], Agent] = found
    return make


def brings_model(path: str) -> bool:
    """Make the agent once, as every call will, and tell whether it has a model of its own.

    An agent that asks for the call's context while it is made can only be made within a call; it is taken to
    use the model that the settings describe.

    Raises:
        SettingsError: like `load`, or the class cannot be made without arguments.
    """
    make = load(path)
    try:
        agent = make()
    except Exception as error:
        if _NO_CALL in str(error):
            return False
        raise _error(
            path,
            f"{path.rpartition(':')[2]}() failed: {_last_line(error)}",
            "let the class be made without arguments, and give it what it needs in the environment",
        ) from error
    return is_given(agent.llm) and agent.llm is not None


def _is_agent(value: object) -> bool:
    return isclass(value) and issubclass(value, Agent)


def _last_line(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def _error(path: str, reason: str, fix: str) -> SettingsError:
    return SettingsError([Problem("AGENT_CLASS", path, reason, fix)])
