-- name: take_batches
-- Make room for batches of chunks, and say what is to be done with each.
SELECT tenant_id, document_id,
       take_batch(tenant_id, document_id, revision, run, text_key, first_ordinal, last_ordinal) AS verdict
FROM (
    SELECT * FROM unnest(
        :tenant_ids::text[], :document_ids::text[], :revisions::bigint[], :runs::integer[], :text_keys::text[],
        :first_ordinals::integer[], :last_ordinals::integer[]
    ) AS b (tenant_id, document_id, revision, run, text_key, first_ordinal, last_ordinal)
    ORDER BY tenant_id, document_id
) batches;

-- name: delete_revisions!
-- Remove the chunks of a range of revisions.
SELECT delete_chunks(:tenant_id, :document_id, :lowest, :highest);

-- name: list_chunks
-- A page of the visible chunks of a document, in order.
SELECT c.ordinal, c.page, c.start_char, c.end_char, c.token_count, c.headings, c.text, c.revision,
       -- The same in every revision that has the chunk: what is in it, and how many equal ones stand before it.
       c.content_hash || '-' || (
           SELECT count(*) FROM document_chunks e
           WHERE e.tenant_id = c.tenant_id AND e.document_id = c.document_id AND e.revision = c.revision
             AND e.content_hash = c.content_hash AND e.ordinal < c.ordinal
       ) AS chunk_id
FROM documents d
JOIN document_chunks c ON c.tenant_id = d.tenant_id AND c.document_id = d.document_id AND c.revision = d.revision
WHERE d.tenant_id = :tenant_id AND d.document_id = :document_id AND NOT d.deleted AND c.ordinal > :after
ORDER BY c.ordinal
LIMIT :limit;

-- name: known_embeddings
-- The vectors that this embedder already made of the same content for the same tenant.
SELECT DISTINCT ON (content_hash) content_hash, embedding
FROM document_chunks
WHERE tenant_id = :tenant_id AND content_hash = ANY(:content_hashes) AND embedder = :embedder;
