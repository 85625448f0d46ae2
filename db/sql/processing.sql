-- name: report_state$
-- Move a revision forward; answers true if it moved. A report from before the stored state changes nothing, and none
-- changes a final state: what was indexed cannot fail any more, nor the other way round.
INSERT INTO document_processing AS p (
    tenant_id, document_id, revision, state, state_rank, chunks_total, chunks_done, attempt, error,
    filename, title, media_type, updated_at
)
VALUES (
    :tenant_id, :document_id, :revision, :state, :state_rank, :chunks_total, :chunks_done, :attempt, :error,
    :filename, :title, :media_type, now()
)
ON CONFLICT (tenant_id, document_id, revision) DO UPDATE
SET state = excluded.state, state_rank = excluded.state_rank,
    chunks_total = coalesce(excluded.chunks_total, p.chunks_total), chunks_done = excluded.chunks_done,
    attempt = excluded.attempt, error = excluded.error, filename = coalesce(excluded.filename, p.filename),
    title = coalesce(excluded.title, p.title), media_type = coalesce(excluded.media_type, p.media_type),
    updated_at = excluded.updated_at
WHERE p.state NOT IN ('indexed', 'failed', 'deleted')
  AND (p.state_rank, p.chunks_done) < (excluded.state_rank, excluded.chunks_done)
RETURNING true;

-- name: has_failed$
-- Whether a revision already ended in the dead letter, so that its remaining chunks are not wanted.
SELECT EXISTS (
    SELECT FROM document_processing
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision AND state = 'failed'
);

-- name: get_state^
-- Where one revision stands.
SELECT state, chunks_total, chunks_done, attempt, error, filename, title, media_type, updated_at
FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision;

-- name: forget_older!
-- Drop the reports on revisions that a newer one has replaced.
DELETE FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision < :revision;
