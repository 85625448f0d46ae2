"""The chat operations."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from db import conversations
from gateway.admission import Overloaded, ShareExceeded
from gateway.chat.models import Answer, ChatRequest, Conversation, Message
from gateway.hub import Slow
from gateway.problems import responses
from gateway.state import AFTER_POSITION_ERRORS, AfterPosition, State, StateOf, Tenant, Traceparent
from schemas.errors import BrokerUnavailable, MillraceError
from schemas.events import ChatCompleted, ChatDelta, ChatFailed, ChatRequested, ConversationId
from schemas.topics import CHAT_REQUESTED

router = APIRouter(tags=["chat"])

ChatAnswer = ChatDelta | ChatCompleted | ChatFailed


class AnswerTimeout(MillraceError):
    """No answer came in time."""

    type = "answer-timeout"
    hint = "It may still come; the conversation will have it then."


class AnswerFailed(MillraceError):
    """The question could not be answered."""

    type = "answer-failed"


class ConversationNotFound(MillraceError):
    """There is no such conversation."""

    type = "conversation-not-found"


@router.post(
    "/v1/chat",
    response_model=Answer,
    summary="Ask a question",
    dependencies=[AfterPosition],
    responses=responses(
        *AFTER_POSITION_ERRORS, AnswerFailed, AnswerTimeout, BrokerUnavailable, Overloaded, ShareExceeded
    )
    | {
        200: {
            "model": Answer,
            "description": "The answer; as server-sent events if `stream` is true.",
            "content": {"text/event-stream": {}},
        }
    },
)
async def chat(state: StateOf, tenant: Tenant, traceparent: Traceparent, request: ChatRequest) -> Answer | Response:
    """The answer rests on the documents alone, and cites each passage it uses by document, revision, page and span."""
    event = ChatRequested(
        tenant_id=tenant,
        conversation_id=request.conversation_id or uuid.uuid4().hex,
        request_id=uuid.uuid4().hex,
        message=request.message,
        filters=request.filters,
    )
    answers = _ask(state, event, traceparent)
    # Asked before a response begins, so that a refusal is a problem and no broken stream.
    await anext(answers)
    if request.stream:
        return EventSourceResponse(_stream(event, answers))
    async with aclosing(answers):
        async for answer in answers:
            if isinstance(answer, ChatCompleted):
                return Answer(
                    conversation_id=answer.conversation_id,
                    message_id=answer.message_id,
                    answer=answer.answer,
                    citations=list(answer.citations),
                )
            if isinstance(answer, ChatFailed):
                raise AnswerFailed(answer.error.message)
    raise AnswerTimeout


async def _ask(state: State, event: ChatRequested, traceparent: str) -> AsyncGenerator[ChatAnswer | None]:
    """Publish a question, give None once that is done, and then what comes back, up to its end.

    Raises `Overloaded`, `ShareExceeded`, `DatabaseBusy` and `BrokerUnavailable`, then `AnswerTimeout`.
    """
    with (
        state.admission.chat(event.tenant_id),
        state.hub.chat(event.tenant_id, event.request_id) as subscription,
    ):
        await state.publish(CHAT_REQUESTED, event, traceparent)
        yield None
        deadline = asyncio.get_running_loop().time() + state.settings.answer_timeout_s
        while True:
            try:
                # Around each wait alone: a timeout cancels the task that began it, and a stream goes on in another one.
                async with asyncio.timeout_at(deadline):
                    answer = await subscription.get()
            except (TimeoutError, Slow):
                raise AnswerTimeout from None
            assert isinstance(answer, ChatAnswer)
            yield answer
            if not isinstance(answer, ChatDelta):
                return


async def _stream(
    question: ChatRequested, answers: AsyncGenerator[ChatAnswer | None]
) -> AsyncGenerator[ServerSentEvent]:
    async with aclosing(answers):
        try:
            async for answer in answers:
                if isinstance(answer, ChatFailed):
                    yield _failed(question, answer.error.type, answer.error.message)
                elif answer is not None:
                    name = "delta" if isinstance(answer, ChatDelta) else "completed"
                    data = answer.model_dump_json(exclude={"tenant_id"}, exclude_none=True)
                    yield ServerSentEvent(event=name, data=data)
        except AnswerTimeout as error:
            yield _failed(question, error.type, str(error))


def _failed(question: ChatRequested, error_type: str, message: str) -> ServerSentEvent:
    data = {
        "conversation_id": question.conversation_id,
        "request_id": question.request_id,
        "error": {"type": error_type, "message": message},
    }
    return ServerSentEvent(event="failed", data=orjson.dumps(data).decode())


@router.get(
    "/v1/conversations/{conversation_id}",
    response_model=Conversation,
    summary="Get a conversation",
    dependencies=[AfterPosition],
    responses=responses(*AFTER_POSITION_ERRORS, ConversationNotFound),
)
async def get_conversation(
    state: StateOf,
    tenant: Tenant,
    conversation_id: Annotated[ConversationId, Path()],
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many messages, the newest.")] = 50,
) -> Conversation:
    """The conversation and its newest messages."""
    head = await conversations.get(state.pool, tenant, conversation_id)
    if head is None:
        raise ConversationNotFound(conversation_id)
    # A day ahead: the messages' times are the producers', whose clocks may differ from this one.
    rows = await conversations.history(
        state.pool, tenant, conversation_id, before=datetime.now(UTC) + timedelta(days=1), limit=limit
    )
    return Conversation(
        **dict(head),
        messages=[Message(**{name: row[name] for name in Message.model_fields}) for row in rows],
    )
