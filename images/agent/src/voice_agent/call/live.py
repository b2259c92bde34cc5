"""The call that this process serves."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from livekit.agents import Agent, AgentSession, ChatContext, JobContext
from opentelemetry import propagate
from pydantic import JsonValue, TypeAdapter, ValidationError

from voice_agent.call import entrance
from voice_agent.call.snapshot import AgentState, CallIdentity, Snapshot
from voice_agent.gemini import ModelCheckpoint, ResumableSession
from voice_agent.tether.wire import Ending

logger = logging.getLogger(__name__)

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
# Every change of it goes to every keeper, of every call; a message of 24 MiB would end the tether.
OWN_STATE_BYTES = 1024 * 1024


@runtime_checkable
class SavesState(Protocol):
    """An agent that has state of its own: whatever JSON can hold."""

    def save_state(self) -> JsonValue:
        """What another pod needs to go on; asked for after every turn, and before the call moves."""


@runtime_checkable
class RestoresState(Protocol):
    """An agent that takes up state that `save_state` returned in another process."""

    def restore_state(self, state: JsonValue) -> None:
        """Called once, before the first word, in place of `on_enter`, or before it if that did not come to its end."""


@dataclass
class Call:
    """A call with its agent.

    Attributes:
        context: the job that serves it.
        identity: which call it is.
        session: what the agent talks in.
        began_at: when the caller was first answered.
        ending: why this process has it no more; None while it does, and when the caller is left without an agent.
        reentered: whether the agent's `on_enter` has run in another process before: it may be what kills them.
    """

    context: JobContext
    identity: CallIdentity
    session: AgentSession[None]
    began_at: datetime
    ending: Ending | None = None
    reentered: bool = False

    @property
    def agent(self) -> Agent:
        """The agent that is active now; tools may have put another in the first one's place."""
        return self.session.current_agent

    @property
    def is_running(self) -> bool:
        """Whether the session has not ended, and is not about to because its model is given up."""
        try:
            has_session = self.agent.session is not None
        except RuntimeError:
            return False
        return has_session and not (self.model is not None and self.model.over)

    @property
    def model(self) -> ResumableSession | None:
        """The model's session of the active agent; None if the agent brings a model that is not ours."""
        try:
            model = self.agent.realtime_llm_session
        except RuntimeError:  # a pipeline of speech to text, language model and text to speech has none
            return None
        return model if isinstance(model, ResumableSession) else None

    @property
    def caller_speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance; with Gemini the session's state lags behind."""
        model = self.model
        return model.progress.speaking if model else self.session.user_state == "speaking"

    @property
    def agent_speaking(self) -> bool:
        """Whether an answer is being played."""
        return self.session.agent_state == "speaking"

    @property
    def entering(self) -> bool:
        """Whether the agent is still in its `on_enter`, and since it entered nobody has said or been asked anything."""
        if not entrance.is_under_way(self.session) or self.agent_speaking or self.caller_speaking:
            return False
        if self.model is not None and self.model.asked:
            return False
        # What a team's code gave it to begin with is older.
        since = self.entered_at.timestamp()
        said = (item for item in self._chat().items if item.type == "message" and item.role in {"user", "assistant"})
        return not any(message.created_at >= since for message in said)

    @property
    def entered_at(self) -> datetime:
        """When the active agent came to the call."""
        handoffs = [item.created_at for item in self.session.history.items if item.type == "agent_handoff"]
        return max(self.began_at, datetime.fromtimestamp(handoffs[-1], UTC)) if handoffs else self.began_at

    @property
    def runs_functions(self) -> bool:
        """Whether the model waits for a function's result; False with a model that is not ours."""
        return self.model is not None and not all(self.model.progress.tool_calls)

    async def hold(self) -> ModelCheckpoint:
        """Answer no more, so that another agent can; with our model what the caller says is kept."""
        if model := self.model:
            return await model.hold()
        self.session.input.set_audio_enabled(False)
        return ModelCheckpoint()

    async def resume(self, state: ModelCheckpoint | None = None, *, cut: float | None = None) -> None:
        """Answer again, or for the first time with what another process left; see `ResumableSession.resume`."""
        if model := self.model:
            await model.resume(state.interrupted() if state else None, cut=cut)
        else:
            self.session.input.set_audio_enabled(True)

    def give_up_to(self, epoch: int) -> None:
        """Leave without a word: an agent with a higher epoch has the call."""
        if self.ending is not None:
            return
        logger.warning("another agent has the call; leaving without a word", extra={"new_epoch": epoch})
        self.ending = Ending.SUPERSEDED
        self.session.input.set_audio_enabled(False)
        self.session.output.set_audio_enabled(False)
        self.context.shutdown(reason="superseded")

    def snapshot(self, model: ModelCheckpoint) -> Snapshot:
        """The call as it is now."""
        agent = self.agent
        trace: dict[str, str] = {}
        propagate.inject(trace)
        return Snapshot(
            call=self.identity,
            agent=AgentState(
                path=path_of(agent),
                instructions=str(agent.instructions),
                chat=self._chat().to_dict(exclude_timestamp=False, exclude_metrics=True, exclude_config_update=True),
                own=_own_state(agent),
            ),
            model=model,
            trace=trace,
            pod=os.environ.get("POD_NAME", ""),
            began_at=self.began_at,
            written_at=datetime.now(UTC),
            caller_speaking=self.caller_speaking,
            agent_speaking=self.agent_speaking,
            entering=self.entering and not self.reentered,
        )

    def _chat(self) -> ChatContext:
        """The conversation, with the turn that is being played: livekit-agents takes it down when it was."""
        chat = self.agent.chat_ctx
        playing = self.model.playing if self.model else ()
        if missing := [message for message in playing if chat.get_by_id(message.id) is None]:
            chat = chat.copy()
            chat.insert(missing)
        return chat

    async def restore(self, snapshot: Snapshot) -> None:
        """Put the conversation and the agent's own state in place."""
        agent = self.agent
        if snapshot.agent.instructions != agent.instructions:
            await agent.update_instructions(snapshot.agent.instructions)
        await agent.update_chat_ctx(ChatContext.from_dict(snapshot.agent.chat))
        if isinstance(agent, RestoresState):
            try:
                agent.restore_state(snapshot.agent.own)
            except Exception:
                logger.exception("restore_state of %s failed; the call goes on without that state", snapshot.agent.path)
        self.began_at = snapshot.began_at


def path_of(agent: Agent) -> str:
    """`package.module:Class` of the agent."""
    return f"{type(agent).__module__}:{type(agent).__qualname__}"


def _own_state(agent: Agent) -> JsonValue:
    if not isinstance(agent, SavesState):
        return None
    try:
        state = _JSON.validate_python(agent.save_state())
        if (size := len(_JSON.dump_json(state))) <= OWN_STATE_BYTES:
            return state
        logger.error(
            "save_state of %s returned %d bytes of JSON, above %d; it is left out. Keep it elsewhere; return where.",
            path_of(agent),
            size,
            OWN_STATE_BYTES,
        )
    except ValidationError:
        # Its message would quote the state.
        logger.error("save_state of %s returned what JSON cannot hold; it is left out", path_of(agent))  # noqa: TRY400
    except Exception:
        logger.exception("save_state of %s failed; its state is left out", path_of(agent))
    return None
