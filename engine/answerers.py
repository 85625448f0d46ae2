"""The answerers there are."""

from engine.answer import Answerer, AnswererKind, AnswererSettings
from engine.answer_extractive import ExtractiveAnswerer
from engine.answer_openai import OpenAIAnswerer
from engine.embed import Embedder


def create_answerer(settings: AnswererSettings, embedder: Embedder) -> Answerer:
    """The answerer that the settings name. Raises `AnswererRefused` where they are incomplete."""
    match settings.kind:
        case AnswererKind.OPENAI:
            return OpenAIAnswerer(settings)
        case AnswererKind.EXTRACTIVE:
            return ExtractiveAnswerer(embedder)
