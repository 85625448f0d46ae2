-- name: report_states
-- Move revisions forward, each given once; those that moved come back. A report that comes late or again changes nothing:
-- its state does not follow the stored one (`earlier` has those that it may follow), or a newer revision is the visible
-- one and reports before it are forgotten.
INSERT INTO document_processing AS p (
    tenant_id, document_id, revision, state, chunks_total, chunks_done, attempt, error, filename, title, media_type,
    updated_at
)
SELECT s.*, now()
FROM jsonb_to_recordset(:statuses) AS s (
    tenant_id text, document_id text, revision bigint, state text, chunks_total integer, chunks_done integer,
    attempt integer, error jsonb, filename text, title text, media_type text
)
WHERE NOT EXISTS (
    SELECT FROM documents d
    WHERE d.tenant_id = s.tenant_id AND d.document_id = s.document_id AND d.revision > s.revision
)
ORDER BY s.tenant_id, s.document_id, s.revision
ON CONFLICT (tenant_id, document_id, revision) DO UPDATE
SET state = excluded.state, chunks_total = coalesce(excluded.chunks_total, p.chunks_total),
    chunks_done = greatest(p.chunks_done, excluded.chunks_done), attempt = excluded.attempt, error = excluded.error,
    filename = coalesce(excluded.filename, p.filename), title = coalesce(excluded.title, p.title),
    media_type = coalesce(excluded.media_type, p.media_type), updated_at = excluded.updated_at
WHERE jsonb_exists(:earlier::jsonb -> excluded.state, p.state)
   OR (p.state = excluded.state AND p.chunks_done < excluded.chunks_done)
RETURNING tenant_id, document_id, revision;

-- name: keep_submission!
-- Note what was submitted, with where its content lies if that was known once; nothing of what is forgotten already.
INSERT INTO document_processing AS p (tenant_id, document_id, revision, state, submission)
SELECT :tenant_id, :document_id, :revision, 'received', :submission
WHERE NOT EXISTS (
    SELECT FROM documents d
    WHERE d.tenant_id = :tenant_id AND d.document_id = :document_id AND d.revision > :revision
)
ON CONFLICT (tenant_id, document_id, revision) DO UPDATE SET submission = coalesce(p.submission, excluded.submission);

-- name: forget_submission!
-- The content of a revision is given up: it cannot be tried again.
UPDATE document_processing SET submission = NULL
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision;

-- name: note_attempt!
-- How often a stage has tried so far.
UPDATE document_processing SET attempt = :attempt, updated_at = now()
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision AND state = ANY(:unfinished::text[]);

-- name: begin_runs
-- Runs of the parse stage begin.
SELECT r.tenant_id, r.document_id, r.revision, b.run, b.state, b.wanted, b.begun
FROM (
    SELECT * FROM jsonb_to_recordset(:runs) AS r (
        tenant_id text, document_id text, revision bigint, submission jsonb, original text, text_key text
    )
    ORDER BY tenant_id, document_id, revision
) r
CROSS JOIN LATERAL begin_run(r.tenant_id, r.document_id, r.revision, r.submission, r.original, r.text_key) b;

-- name: wanted
-- Of which of these revisions anything may still come.
SELECT DISTINCT tenant_id, document_id, revision
FROM unnest(:tenant_ids::text[], :document_ids::text[], :revisions::bigint[]) AS r (tenant_id, document_id, revision)
WHERE is_wanted(tenant_id, document_id, revision);

-- name: cancel_before
-- End the unfinished revisions before a place in the log as cancelled, and give those that have ended so: also before,
-- since the process that did it may have ended before it could tell.
WITH ended AS (
    UPDATE document_processing
    SET state = 'cancelled', error = :error, updated_at = now()
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision < :position
      AND state = ANY(:cancellable::text[])
    RETURNING revision, chunks_total, chunks_done, attempt, error, filename, title, media_type
)
SELECT * FROM ended
UNION ALL
SELECT revision, chunks_total, chunks_done, attempt, error, filename, title, media_type FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision < :position AND state = 'cancelled'
ORDER BY revision;

-- name: newest_before^
-- The newest revision before a place in the log, but for those that came to nothing themselves, and the visible one.
SELECT p.revision, p.state, p.submission, coalesce(d.revision, 0) AS visible_revision
FROM document_processing p
LEFT JOIN documents d ON d.tenant_id = p.tenant_id AND d.document_id = p.document_id
WHERE p.tenant_id = :tenant_id AND p.document_id = :document_id AND p.revision < :position
  AND NOT (p.state = 'cancelled' AND p.submission IS NULL)
ORDER BY p.revision DESC
LIMIT 1;

-- name: get_state^
-- Where one revision stands.
SELECT state, chunks_total, chunks_done, attempt, error, filename, title, media_type, updated_at
FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision;

-- name: get_submission^
-- What was submitted, and when.
SELECT submission, received_at
FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision;
