"""A program that is forked from a warm interpreter is as one that has an interpreter of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.interpreters import Process, cold, start, warm
from lab.processes import parent

PIPE = asyncio.subprocess.PIPE
# Long enough to be seen, if nobody ends it.
FOREVER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


@pytest.fixture(params=["forked", "started"])
def interpreter(request: pytest.FixtureRequest) -> Iterator[None]:
    with warm(["json"]) if request.param == "forked" else cold():
        yield


async def run(folder: Path, text: str, *arguments: str, session: bool = False) -> Process:
    (folder / "program.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(folder), "ONLY": "here"}
    environment.pop("PWD", None)
    return await start(
        "-m", "program", *arguments, environment=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, session=session
    )


async def ended(process: Process) -> tuple[int, str, str]:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.close()
    out, errors = await process.stdout.read(), await process.stderr.read()
    return await process.wait(), out.decode(), errors.decode()


@pytest.mark.usefixtures("interpreter")
async def test_it_has_its_arguments_environment_and_folder(tmp_path: Path) -> None:
    text = "import os, sys; print(sys.argv[1:], os.environ['ONLY'], 'PWD' in os.environ, __name__)"
    process = await run(tmp_path, text, "one", "two")

    assert await ended(process) == (0, "['one', 'two'] here False __main__\n", "")


@pytest.mark.usefixtures("interpreter")
async def test_it_is_talked_to(tmp_path: Path) -> None:
    process = await run(tmp_path, "import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]")
    assert process.stdin
    assert process.stdout
    for word in (b"one\n", b"two\n"):
        process.stdin.write(word)
        await process.stdin.drain()
        assert await process.stdout.readline() == word.upper()

    assert await ended(process) == (0, "", "")


@pytest.mark.usefixtures("interpreter")
async def test_it_tells_its_exit_code(tmp_path: Path) -> None:
    code, _, _ = await ended(await run(tmp_path, "raise SystemExit(3)"))
    assert code == 3
    code, _, errors = await ended(await run(tmp_path, "raise ValueError('of mine')"))
    assert code == 1
    assert errors.endswith("ValueError: of mine\n")


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("session", [False, True])
async def test_it_is_ended_by_a_signal(tmp_path: Path, session: bool) -> None:
    process = await run(tmp_path, FOREVER, session=session)
    assert process.stdout
    assert int(await process.stdout.readline()) == process.pid
    assert (os.getpgid(process.pid) == process.pid) == session
    assert process.returncode is None

    process.terminate()

    assert await process.wait() == process.returncode == -signal.SIGTERM


@pytest.mark.usefixtures("interpreter")
async def test_those_that_run_at_once_do_not_keep_each_other(tmp_path: Path) -> None:
    first, second = await run(tmp_path, FOREVER), await run(tmp_path, FOREVER)
    first.kill()
    assert (await ended(first))[0] == -signal.SIGKILL
    assert second.returncode is None
    second.kill()
    assert (await ended(second))[0] == -signal.SIGKILL


@pytest.mark.parametrize("dies", [False, True])
async def test_what_runs_when_the_warm_interpreter_ends_ends_with_it(tmp_path: Path, dies: bool) -> None:
    with warm(["json"]):
        process = await run(tmp_path, FOREVER, session=True)
        assert process.stdout
        assert await process.stdout.readline()
        if dies:
            os.kill(parent(process.pid), signal.SIGTERM)
            assert await process.wait() == -signal.SIGKILL
            with pytest.raises(ChildProcessError, match="why is above"):
                await start("-m", "json.tool")

    assert await process.stdout.read() == b""
    assert await process.wait() == process.returncode == -signal.SIGKILL


async def test_a_warm_interpreter_that_cannot_begin_says_so() -> None:
    with warm(["no_such_module"]), pytest.raises(ChildProcessError, match="why is above"):
        await start("-m", "json.tool")
