-- name: begin_use$
-- Note that a revision needs a blob; answers true unless the use has ended already.
INSERT INTO blob_uses AS b (tenant_id, blob_key, document_id, revision, derived)
VALUES (:tenant_id, :blob_key, :document_id, :revision, :derived)
ON CONFLICT (tenant_id, blob_key, document_id, revision) DO UPDATE SET derived = excluded.derived WHERE NOT b.ended
RETURNING true;

-- name: is_needed$
-- Whether any revision still needs a blob.
SELECT EXISTS (SELECT FROM blob_uses WHERE tenant_id = :tenant_id AND blob_key = :blob_key AND NOT ended);

-- name: end_uses!
-- Nothing up to a revision needs its blobs any more, but for those that are kept.
UPDATE blob_uses SET ended = true
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision <= :revision AND NOT ended
  AND blob_key <> ALL(:kept::text[]);

-- name: end_uses_between!
-- Some revisions need their blobs no more: those that were made of them, or also what was submitted.
UPDATE blob_uses SET ended = true
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision BETWEEN :lowest AND :highest AND NOT ended
  AND (derived OR NOT :derived_only);

-- name: end_use!
-- A revision needs one of its blobs no more.
UPDATE blob_uses SET ended = true
WHERE tenant_id = :tenant_id AND blob_key = :blob_key AND document_id = :document_id AND revision = :revision;

-- name: needless
-- Blobs whose uses have all ended; of one document, or of all.
SELECT DISTINCT b.tenant_id, b.blob_key
FROM blob_uses b
WHERE b.ended AND (b.derived OR NOT :derived_only)
  AND (:tenant_id::text IS NULL OR (b.tenant_id = :tenant_id AND b.document_id = :document_id))
  AND NOT EXISTS (
      SELECT FROM blob_uses other
      WHERE other.tenant_id = b.tenant_id AND other.blob_key = b.blob_key AND NOT other.ended
  )
LIMIT :limit;

-- name: forget_blob!
-- The object store has deleted a blob.
DELETE FROM blob_uses WHERE tenant_id = :tenant_id AND blob_key = :blob_key AND ended;
