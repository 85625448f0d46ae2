-- name: apply_events
-- Lock documents' rows until the transaction ends, created (invisible) if they are new, and note that an event of each is
-- applied; those come back of which neither that event nor a later one was applied before.
INSERT INTO documents AS d (tenant_id, document_id, applied)
SELECT * FROM unnest(:tenant_ids::text[], :document_ids::text[], :positions::bigint[]) ORDER BY 1, 2
ON CONFLICT (tenant_id, document_id) DO UPDATE SET applied = excluded.applied WHERE d.applied < excluded.applied
RETURNING tenant_id, document_id, revision;

-- name: settle!
-- Note that everything asked for a document up to a place in documents.submitted has its outcome.
UPDATE documents SET settled = greatest(settled, :position)
WHERE tenant_id = :tenant_id AND document_id = :document_id;

-- name: cancel!
-- Unfinished revisions before a place in documents.submitted are not wanted any more.
INSERT INTO documents AS d (tenant_id, document_id, cancelled)
VALUES (:tenant_id, :document_id, :position)
ON CONFLICT (tenant_id, document_id) DO UPDATE SET cancelled = greatest(d.cancelled, excluded.cancelled);

-- name: hold
-- Some documents, which stay as they are until the transaction ends.
SELECT document_id, deleted AND revision > 0 AS gone FROM documents
WHERE tenant_id = :tenant_id AND document_id = ANY(:document_ids::text[])
ORDER BY document_id
FOR SHARE;

-- name: publish_revisions
-- Make revisions whose chunks are stored the visible ones; what comes back says how many are.
SELECT r.tenant_id, r.document_id, p.stored, p.leaves_blobs
FROM (
    SELECT * FROM jsonb_to_recordset(:revisions) AS r (
        tenant_id text, document_id text, revision bigint, chunk_total integer, document jsonb
    )
    ORDER BY tenant_id, document_id
) r
CROSS JOIN LATERAL publish_revision(r.tenant_id, r.document_id, r.revision, r.chunk_total, r.document) p;

-- name: replace_older!
-- A revision takes the place of all before it.
SELECT replace_older(:tenant_id, :document_id, :revision, '{}');

-- name: bury_document!
-- Leave a tombstone: the document is gone for readers, and nothing older than this revision comes back.
UPDATE documents
SET revision = :revision, deleted = true, media_type = NULL, filename = NULL, title = NULL, collection = NULL,
    tags = '{}', metadata = '{}', blob_key = NULL, text_key = NULL, size_bytes = NULL, text_chars = NULL,
    page_count = NULL, chunk_count = 0
WHERE tenant_id = :tenant_id AND document_id = :document_id;

-- name: get_document^
-- One document as readers see it: its visible revision, and where its newest revision stands.
SELECT p.document_id, CASE WHEN d.deleted THEN NULL ELSE d.revision END AS revision,
       coalesce(d.media_type, p.media_type) AS media_type, coalesce(d.filename, p.filename) AS filename,
       coalesce(d.title, p.title) AS title, d.collection, coalesce(d.tags, '{}') AS tags,
       coalesce(d.metadata, '{}') AS metadata, d.blob_key, d.text_key, d.size_bytes, d.text_chars, d.page_count,
       coalesce(d.chunk_count, 0) AS chunk_count, CASE WHEN d.deleted THEN NULL ELSE d.indexed_at END AS indexed_at,
       p.revision AS newest_revision, p.state, p.chunks_total, p.chunks_done, p.attempt, p.error, p.received_at,
       p.updated_at
FROM document_processing p
LEFT JOIN documents d ON d.tenant_id = p.tenant_id AND d.document_id = p.document_id
WHERE p.tenant_id = :tenant_id AND p.document_id = :document_id
ORDER BY p.revision DESC
LIMIT 1;

-- name: list_documents
-- A page of documents in the order of their ids, after a given id; those whose newest state is deleted are left out.
SELECT newest.document_id, CASE WHEN d.deleted THEN NULL ELSE d.revision END AS revision,
       coalesce(d.media_type, newest.media_type) AS media_type, coalesce(d.filename, newest.filename) AS filename,
       coalesce(d.title, newest.title) AS title, d.collection, coalesce(d.tags, '{}') AS tags,
       coalesce(d.metadata, '{}') AS metadata, d.blob_key, d.text_key, d.size_bytes, d.text_chars, d.page_count,
       coalesce(d.chunk_count, 0) AS chunk_count, CASE WHEN d.deleted THEN NULL ELSE d.indexed_at END AS indexed_at,
       newest.revision AS newest_revision, newest.state, newest.chunks_total, newest.chunks_done, newest.attempt,
       newest.error, newest.received_at, newest.updated_at
FROM (
    SELECT DISTINCT ON (p.document_id) p.*
    FROM document_processing p
    WHERE p.tenant_id = :tenant_id AND p.document_id > :after
    ORDER BY p.document_id, p.revision DESC
) newest
LEFT JOIN documents d ON d.tenant_id = newest.tenant_id AND d.document_id = newest.document_id
WHERE newest.state <> 'deleted'
  AND (:state::text IS NULL OR newest.state = :state)
  AND (:collection::text IS NULL OR d.collection = :collection)
ORDER BY newest.document_id
LIMIT :limit;
