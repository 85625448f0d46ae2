"""What the chat operations take and give."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from schemas.events import CHAT_MESSAGE_CHARS_MAX, Citation, ConversationId, SearchFilters


class ChatRequest(BaseModel):
    """A question."""

    message: Annotated[
        str,
        StringConstraints(
            min_length=1, max_length=CHAT_MESSAGE_CHARS_MAX, pattern=r"^[^\x00]*$", strip_whitespace=True
        ),
    ]
    conversation_id: ConversationId | None = Field(default=None, description="To go on with; a new one if absent.")
    filters: SearchFilters | None = Field(default=None, description="Which documents the answer may rest on.")
    stream: bool = Field(default=False, description="Answer as server-sent events: `delta`s, then `completed`.")


class Answer(BaseModel):
    """An answer with the passages that support it; ``[n]`` in the text is the citation of that number."""

    conversation_id: str
    message_id: str
    answer: str
    citations: list[Citation]


class Message(BaseModel):
    """Something that was said."""

    message_id: str
    role: Literal["user", "assistant"]
    text: str
    citations: list[Citation]
    created_at: datetime


class Conversation(BaseModel):
    """A conversation with its newest messages, oldest first."""

    conversation_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    messages: list[Message]
