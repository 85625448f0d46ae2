"""Conversations: each question and each answer once, and the answer that was told is the one that is kept."""

from collections import Counter
from typing import Any

from millrace.chaos.checking.answers import SETTLER
from millrace.chaos.checking.knowledge import Knowledge
from millrace.chaos.violations import Report

Answer = tuple[str, list[dict[str, Any]]]


def check(reads: list[dict[str, Any]], _: Knowledge, report: Report) -> None:
    """Check what was said, and what is kept of it."""
    told: dict[tuple[str, str], dict[str, tuple[int, Answer]]] = {}
    for line in reads:
        conversation = (line["tenant"], line["arguments"].get("conversation_id"))
        answers = told.setdefault(conversation, {})
        response = line["response"]
        if line["kind"] == "chat" and line["outcome"] == "ok":
            _same(answers, response["message_id"], (response["answer"], response["citations"]), line["index"], report)
        elif line["kind"] == "conversation":
            messages = response.get("messages", [])
            _check_once(line, messages, report)
            for message in messages:
                if message["role"] == "assistant":
                    answer = (message["text"], message["citations"])
                    _same(answers, message["message_id"], answer, line["index"], report)
            if line["client"] == SETTLER:
                kept = {message["message_id"] for message in messages}
                for message_id in answers.keys() - kept:
                    report.add("lost", f"answer {message_id} is not kept", answers[message_id][0], line["index"])


def _same(told: dict[str, tuple[int, Answer]], message_id: str, answer: Answer, index: int, report: Report) -> None:
    first, known = told.setdefault(message_id, (index, answer))
    if not _equal(known, answer):
        report.add("doubled", f"answer {message_id} was told in two ways", first, index)


def _equal(one: Answer, other: Answer) -> bool:
    """Fields without a value may be left out."""
    bare = [
        [{k: v for k, v in each.items() if v not in (None, [], ())} for each in citations]
        for citations in (one[1], other[1])
    ]
    return one[0] == other[0] and bare[0] == bare[1]


def _check_once(line: dict[str, Any], messages: list[dict[str, Any]], report: Report) -> None:
    conversation_id = line["arguments"]["conversation_id"]
    for what, values in (
        ("a message", [message["message_id"] for message in messages]),
        # Every question of ours is worded like no other one.
        ("a question", [message["text"] for message in messages if message["role"] == "user"]),
    ):
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            report.add("doubled", f"{conversation_id} has {what} twice: {twice[0]}", line["index"])
    answers = sum(message["role"] == "assistant" for message in messages)
    if answers > len(messages) - answers:
        report.add("doubled", f"{conversation_id} has more answers than questions", line["index"])
