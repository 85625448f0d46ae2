"""The embedders there are."""

from engine.embed import Embedder, EmbedderKind, EmbedderSettings


def create_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder that the settings name. Raises `EmbedderRefused` where they are incomplete."""
    # Each kind brings libraries of its own, which the others need not load.
    match settings.kind:
        case EmbedderKind.OPENAI:
            from engine.embed_openai import OpenAIEmbedder  # noqa: PLC0415

            return OpenAIEmbedder(settings)
        case EmbedderKind.ONNX:
            from engine.embed_onnx import OnnxEmbedder  # noqa: PLC0415

            return OnnxEmbedder(settings)
        case EmbedderKind.WORDLLAMA:
            from engine.embed_wordllama import WordLlamaEmbedder  # noqa: PLC0415

            return WordLlamaEmbedder()
