-- name: touch_conversation!
-- Create a conversation, or note that it went on.
INSERT INTO conversations AS c (tenant_id, conversation_id, title, created_at, updated_at)
VALUES (:tenant_id, :conversation_id, :title, :at, :at)
ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET updated_at = greatest(c.updated_at, excluded.updated_at);

-- name: add_message!
-- Store a message; the same message again changes nothing.
INSERT INTO conversation_messages (
    tenant_id, conversation_id, created_at, message_id, request_id, role, text, citations
)
VALUES (:tenant_id, :conversation_id, :created_at, :message_id, :request_id, :role, :text, :citations)
ON CONFLICT DO NOTHING;

-- name: last_messages
-- The newest messages of a conversation before a moment, newest first.
SELECT message_id, request_id, role, text, citations, created_at
FROM conversation_messages
WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND created_at < :before
ORDER BY created_at DESC, message_id
LIMIT :limit;

-- name: get_conversation^
-- One conversation's head.
SELECT conversation_id, title, created_at, updated_at FROM conversations
WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id;

-- name: get_answer^
-- The stored answer to a request, if there is one.
SELECT message_id, text, citations FROM conversation_messages
WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND request_id = :request_id
  AND role = 'assistant';

-- name: quoting
-- The messages that quote a document, locked.
SELECT conversation_id, created_at, message_id, text, citations FROM conversation_messages
WHERE tenant_id = :tenant_id AND citations @> jsonb_build_array(jsonb_build_object('document_id', :document_id::text))
FOR UPDATE;

-- name: rewrite_message!
-- Replace a message's text and citations.
UPDATE conversation_messages SET text = :text, citations = :citations
WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND created_at = :created_at
  AND message_id = :message_id;
