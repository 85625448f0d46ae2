-- name: report_state$
-- Move a revision forward; answers true if it moved. A report that comes late or again changes nothing: its state does
-- not follow the stored one, or a newer revision is the visible one and reports before it are forgotten.
INSERT INTO document_processing AS p (
    tenant_id, document_id, revision, state, chunks_total, chunks_done, attempt, error, filename, title, media_type,
    updated_at
)
SELECT :tenant_id, :document_id, :revision, :state, :chunks_total, :chunks_done, :attempt, :error, :filename, :title,
       :media_type, now()
WHERE NOT EXISTS (
    SELECT FROM documents d
    WHERE d.tenant_id = :tenant_id AND d.document_id = :document_id AND d.revision > :revision
)
ON CONFLICT (tenant_id, document_id, revision) DO UPDATE
SET state = excluded.state, chunks_total = coalesce(excluded.chunks_total, p.chunks_total),
    chunks_done = greatest(p.chunks_done, excluded.chunks_done), attempt = excluded.attempt, error = excluded.error,
    filename = coalesce(excluded.filename, p.filename), title = coalesce(excluded.title, p.title),
    media_type = coalesce(excluded.media_type, p.media_type), updated_at = excluded.updated_at
WHERE p.state = ANY(:earlier::text[]) OR (p.state = :state AND p.chunks_done < excluded.chunks_done)
RETURNING true;

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

-- name: next_run$
-- The number of a run of the parse stage that begins now; nothing comes back if the revision is forgotten.
UPDATE document_processing SET runs = runs + 1
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision
RETURNING runs;

-- name: store_run$
-- Note the run of the parse stage whose chunks are stored from now on, and answer which text the one before had made.
WITH before AS (
    SELECT text_key FROM document_processing
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision
)
INSERT INTO document_processing (tenant_id, document_id, revision, state, run, text_key)
VALUES (:tenant_id, :document_id, :revision, 'embedding', :run, :text_key)
ON CONFLICT (tenant_id, document_id, revision) DO UPDATE SET run = excluded.run, text_key = excluded.text_key
RETURNING (SELECT text_key FROM before);

-- name: is_wanted$
-- Whether anything may still come of a revision: it is newer than the visible one, and neither cancelled nor ended.
SELECT NOT EXISTS (
    SELECT FROM documents
    WHERE tenant_id = :tenant_id AND document_id = :document_id
      AND (revision >= :revision OR cancelled > :revision)
) AND NOT EXISTS (
    SELECT FROM document_processing
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision
      AND state <> ALL(:unfinished::text[])
);

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

-- name: get_run^
-- What is known of one revision beside its state.
SELECT state, submission, run, received_at
FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision = :revision;

-- name: forget_older!
-- Drop the reports on revisions that a newer one has replaced.
DELETE FROM document_processing
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision < :revision;
