-- name: needed
-- Which of these blobs any revision still needs.
SELECT tenant_id, blob_key FROM unnest(:tenant_ids::text[], :blob_keys::text[]) AS k (tenant_id, blob_key)
WHERE EXISTS (SELECT FROM blob_uses b WHERE b.tenant_id = k.tenant_id AND b.blob_key = k.blob_key AND NOT b.ended);

-- name: end_uses_between!
-- Some revisions need their blobs no more: those that were made of them, or also what was submitted.
UPDATE blob_uses SET ended = true
WHERE tenant_id = :tenant_id AND document_id = :document_id AND revision BETWEEN :lowest AND :highest AND NOT ended
  AND (derived OR NOT :derived_only);

-- name: needless
-- Blobs whose uses have all ended; of some documents, or of all.
SELECT DISTINCT b.tenant_id, b.blob_key
FROM blob_uses b
WHERE b.ended AND (b.derived OR NOT :derived_only)
  AND (
      :tenant_ids::text[] IS NULL
      OR (b.tenant_id, b.document_id) IN (SELECT * FROM unnest(:tenant_ids::text[], :document_ids::text[]))
  )
  AND NOT EXISTS (
      SELECT FROM blob_uses other
      WHERE other.tenant_id = b.tenant_id AND other.blob_key = b.blob_key AND NOT other.ended
  )
LIMIT :limit;

-- name: forget_blob!
-- The object store has deleted a blob.
DELETE FROM blob_uses WHERE tenant_id = :tenant_id AND blob_key = :blob_key AND ended;
