-- name: settled$
-- Whether everything asked for a document up to a position has its outcome. A tombstone keeps the row.
SELECT EXISTS (
    SELECT FROM documents
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND settled >= :position
);

-- name: known$
-- Whether the tables know of what was asked for a document at a position, or of something newer.
SELECT EXISTS (
    SELECT FROM documents
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND settled >= :position
) OR EXISTS (
    SELECT FROM document_processing
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision >= :position
);

-- name: lock_epochs#
-- One at a time, until the transaction ends.
LOCK TABLE stream_epochs IN SHARE ROW EXCLUSIVE MODE;

-- name: epoch_of$
-- The number of a log, given out on first sight.
INSERT INTO stream_epochs AS e (log_id, epoch)
VALUES (:log_id, (SELECT coalesce(max(epoch) + 1, 0) FROM stream_epochs))
ON CONFLICT (tenant_id, log_id) DO UPDATE SET log_id = excluded.log_id
RETURNING epoch;
