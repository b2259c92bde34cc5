"""A worker whose credentials are files, as GKE's Secret Manager add-on mounts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.callers import CallFleet, CallPlan, assert_ok
from lab.gemini import Simulator
from lab.livekit import LiveKit
from lab.worker import check, worker

AGENTS = str(Path(__file__).parent / "agents")


@pytest.fixture
def in_files(variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A worker's settings without a credential among them."""
    for variable in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "GOOGLE_API_KEY"):
        file = tmp_path / variable.lower().replace("_", "-")
        file.write_text(variables.pop(variable) + "\n")
        variables[f"{variable}_FILE"] = str(file)
    return variables


async def hold_a_call(plan: CallPlan) -> None:
    async with CallFleet(plan, 1) as fleet:
        await fleet.more_answers(2)
        reports = await fleet.finish()
    assert_ok(reports)


async def test_calls_are_answered(in_files: dict[str, str], plan: CallPlan) -> None:
    async with worker(in_files) as pod:
        await pod.ready()
        await hold_a_call(plan)


async def test_an_agent_that_knows_livekit_only_finds_its_key(
    in_files: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    in_files |= {"AGENT_CLASS": "plain_agent:Bare", "PYTHONPATH": AGENTS}
    del in_files["GEMINI_BASE_URL"]
    in_files["GOOGLE_GEMINI_BASE_URL"] = gemini.url
    async with worker(in_files) as pod:
        await pod.ready()
        await hold_a_call(plan)


async def test_a_check_tells_where_each_credential_is_from(in_files: dict[str, str], livekit: LiveKit) -> None:
    del in_files["LIVEKIT_API_KEY_FILE"]
    in_files["LIVEKIT_API_KEY"] = livekit.key

    code, rows = await check(in_files)

    assert code == 0, rows
    assert "LIVEKIT_API_KEY is from the environment" in rows["secrets"]
    assert f"GOOGLE_API_KEY is from {in_files['GOOGLE_API_KEY_FILE']}" in rows["secrets"]
    assert "the simulator takes any" not in str(rows)


async def test_a_missing_file_ends_the_start(in_files: dict[str, str]) -> None:
    in_files["LIVEKIT_API_SECRET_FILE"] += ".not"

    async with worker(in_files) as pod:
        assert await pod.exit_code() == 2

    assert f"LIVEKIT_API_SECRET_FILE={in_files['LIVEKIT_API_SECRET_FILE']}" in pod.text()
    assert "No such file or directory" in pod.text()
    assert "Traceback" not in pod.text()
