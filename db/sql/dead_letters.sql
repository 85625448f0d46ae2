-- name: add_letter!
-- Keep what could not be processed; the same letter again changes nothing.
INSERT INTO dead_letters (
    tenant_id, letter_id, document_id, revision, stage, error_type, error_message, attempt, topic, partition, position,
    key, value, value_key, headers, written_at
)
VALUES (
    :tenant_id, :letter_id, :document_id, :revision, :stage, :error_type, :error_message, :attempt, :topic, :partition,
    :position, :key, :value, :value_key, :headers, :written_at
)
ON CONFLICT DO NOTHING;

-- name: unpublished
-- Letters that the topic does not have yet, oldest first; nobody else takes them meanwhile.
SELECT tenant_id, letter_id, stage, error_type, error_message, attempt, topic, partition, position, key, value,
       value_key, headers, written_at
FROM dead_letters
WHERE NOT published
ORDER BY failed_at
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: published!
-- The topic has the letter.
UPDATE dead_letters SET published = true WHERE tenant_id = :tenant_id AND letter_id = :letter_id;

-- name: close_letter^
-- Note what was done with an open letter, and give it; nothing comes back if it is not open.
UPDATE dead_letters
SET state = :state, history = history || jsonb_build_array(
    jsonb_build_object('at', now(), 'action', :state::text, 'position', :position::bigint)
)
WHERE tenant_id = :tenant_id AND letter_id = :letter_id AND state = 'open'
RETURNING *;

-- name: lock_letter^
-- A letter, which nobody else closes until the transaction ends.
SELECT * FROM dead_letters WHERE tenant_id = :tenant_id AND letter_id = :letter_id FOR UPDATE;

-- name: get_letter^
-- One letter.
SELECT * FROM dead_letters WHERE tenant_id = :tenant_id AND letter_id = :letter_id;

-- name: list_letters
-- A page of letters, newest first, after a given one.
SELECT letter_id, state, document_id, revision, stage, error_type, error_message, attempt, topic, partition, position,
       written_at, failed_at, history
FROM dead_letters
WHERE tenant_id = :tenant_id
  AND (:state::text IS NULL OR state = :state)
  AND (:document_id::text IS NULL OR document_id = :document_id)
  AND (:error_type::text IS NULL OR error_type = :error_type)
  AND (:stage::text IS NULL OR stage = :stage)
  AND (:before_at::timestamptz IS NULL OR (failed_at, letter_id) < (:before_at, :before_id))
ORDER BY failed_at DESC, letter_id DESC
LIMIT :limit;
