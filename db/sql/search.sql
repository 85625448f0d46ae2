-- name: search
-- The best chunks by vector, by text, or by both fused by reciprocal rank (Cormack et al., 2009), in one snapshot, so
-- that no answer mixes two revisions of a document. Of two that are equally good, the one with the words comes first.
WITH by_vector AS (
    SELECT document_id, ordinal, row_number() OVER (ORDER BY distance, document_id, ordinal) AS rank
    FROM nearest(
        :tenant_id, :embedder, :embedding, :depth, :document_ids, :collection, :tags, :media_types, :metadata
    )
    WHERE :by_vector
),
by_text AS (
    SELECT document_id, ordinal, row_number() OVER (ORDER BY score DESC, density DESC, document_id, ordinal) AS rank
    FROM matching(:tenant_id, :text, :depth, :document_ids, :collection, :tags, :media_types, :metadata)
    WHERE :by_text
),
fused AS (
    SELECT document_id, ordinal, v.rank AS vector_rank, t.rank AS text_rank,
           coalesce(1.0 / (60 + v.rank), 0) + coalesce(1.0 / (60 + t.rank), 0) AS score
    FROM by_vector v FULL JOIN by_text t USING (document_id, ordinal)
),
page AS (
    SELECT *
    FROM (
        SELECT *, row_number() OVER (PARTITION BY document_id ORDER BY score DESC, text_rank, ordinal) AS rank_in_document
        FROM fused
    ) ranked
    WHERE :hits_per_document::integer IS NULL OR rank_in_document <= :hits_per_document
    ORDER BY score DESC, text_rank, document_id, ordinal
    OFFSET :offset LIMIT :limit
)
SELECT c.document_id, c.ordinal, p.score::float8 AS score, p.vector_rank, p.text_rank, c.revision, c.title, c.filename,
       c.media_type, c.collection, c.tags, c.metadata, c.page, c.start_char, c.end_char, c.headings, c.places,
       c.text,
       -- As in chunks.sql.
       c.content_hash || '-' || (
           SELECT count(*) FROM document_chunks e
           WHERE e.tenant_id = c.tenant_id AND e.document_id = c.document_id AND e.revision = c.revision
             AND e.content_hash = c.content_hash AND e.ordinal < c.ordinal
       ) AS chunk_id,
       (
           SELECT array_agg(word) FROM regexp_split_to_table(:text, '[^[:alnum:]]+') word
           WHERE to_tsvector('english', word) <> ''
       ) AS words
FROM page p
JOIN visible_chunks c ON c.tenant_id = :tenant_id AND c.document_id = p.document_id AND c.ordinal = p.ordinal
ORDER BY p.score DESC, p.text_rank, c.document_id, c.ordinal;
