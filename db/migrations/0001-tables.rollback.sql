DROP VIEW visible_chunks;
DROP TABLE stream_epochs, stream_positions, conversation_messages, conversations, document_processing, document_chunks,
    documents;
