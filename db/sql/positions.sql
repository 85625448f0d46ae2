-- name: advance$
-- Move a position forward; answers true if it moved, nothing if the place was passed before.
INSERT INTO stream_positions AS p (tenant_id, consumer_group, topic, partition, position)
VALUES (:tenant_id, :consumer_group, :topic, :partition, :position)
ON CONFLICT (tenant_id, consumer_group, topic, partition) DO UPDATE
SET position = excluded.position, updated_at = now()
WHERE p.position < excluded.position
RETURNING true;

-- name: settled$
-- Whether a write is visible, or in one of these states, or a newer one of its document is. A tombstone counts as well.
SELECT EXISTS (
    SELECT FROM documents
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision >= :position
) OR EXISTS (
    SELECT FROM document_processing
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision >= :position AND state = ANY(:states)
);

-- name: lock_epochs#
-- One at a time, until the transaction ends.
LOCK TABLE stream_epochs IN SHARE ROW EXCLUSIVE MODE;

-- name: epoch_of$
-- The number of a log, given out on first sight.
INSERT INTO stream_epochs AS e (cluster_id, epoch)
VALUES (:log_id, (SELECT coalesce(max(epoch) + 1, 0) FROM stream_epochs))
ON CONFLICT (tenant_id, cluster_id) DO UPDATE SET cluster_id = excluded.cluster_id
RETURNING epoch;
