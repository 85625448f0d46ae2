"""Why a document, an embedding or an answer did not come about."""

from schemas.errors import MillraceError


class UnreadableDocument(MillraceError):
    """The document cannot be read."""

    type = "unreadable-document"


class EncryptedDocument(UnreadableDocument):
    """The document is protected by a password."""

    type = "encrypted-document"
    hint = "Remove the password and submit the document again."


class NestedTooDeeply(UnreadableDocument):
    """The page's elements are nested too deeply to be read whole."""

    type = "nested-too-deeply"


class UnsafeDocument(UnreadableDocument):
    """The document is made to harm its reader."""

    type = "unsafe-document"
    hint = "If it is what it seems, save it anew with the program that made it."


class DamagedDocument(UnreadableDocument):
    """The document is damaged or incomplete."""

    type = "damaged-document"
    hint = "Was the upload cut short? Compare the file's size with the original."


class EmptyDocument(UnreadableDocument):
    """The document has no text."""

    type = "empty-document"
    hint = "A scan holds pictures of text; run character recognition on it first."


class InvalidText(UnreadableDocument):
    """The text is not valid in its encoding."""

    type = "invalid-text"
    hint = "Text must be UTF-8, or UTF-16 with a byte order mark, without NUL characters."


class UnsupportedMediaType(UnreadableDocument):
    """Documents of this media type cannot be read."""

    type = "unsupported-media-type"


class MediaTypeMismatch(UnreadableDocument):
    """The content is not of the declared media type."""

    type = "media-type-mismatch"


class TooManyPages(UnreadableDocument):
    """The document has more pages than the limit."""

    type = "too-many-pages"


class TooManyCells(UnreadableDocument):
    """A sheet of the workbook spans more cells than the limit."""

    type = "too-many-cells"
    hint = "Is there a lone value far from the others? Delete it, or move it."


class TextTooLong(UnreadableDocument):
    """The document has more text than the limit."""

    type = "text-too-long"


class TooManyChunks(UnreadableDocument):
    """The document falls into more chunks than the limit."""

    type = "too-many-chunks"


class EmbedderUnavailable(MillraceError):
    """The embedder does not answer."""

    type = "embedder-unavailable"
    transient = True


class EmbedderRefused(MillraceError):
    """The embedder refused the request."""

    type = "embedder-refused"
    hint = "See the MILLRACE_EMBEDDER_ settings."


class AnswererUnavailable(MillraceError):
    """The answering model does not answer."""

    type = "answerer-unavailable"
    transient = True


class AnswerTooLong(MillraceError):
    """The answering model does not come to an end."""

    type = "answer-too-long"


class AnswererRefused(MillraceError):
    """The answering model refused the request."""

    type = "answerer-refused"
    hint = "See the MILLRACE_ANSWERER_ settings."
