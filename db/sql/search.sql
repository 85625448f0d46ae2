-- name: search
-- The best chunks by vector, by text, or by both fused by reciprocal rank (Cormack et al., 2009), in one snapshot, so
-- that no answer mixes two revisions of a document. Dimensions and embedder are filled in when the file is loaded, since
-- a partial index on an expression only serves a query with the very same ones.
WITH words AS (
    SELECT quote_literal(lexeme)::tsquery AS word FROM unnest(to_tsvector('english', :text))
),
matches AS MATERIALIZED (
    -- Each word for itself, since those of a question are hints: AND of them all finds next to nothing. One index scan a
    -- word reads no text vector, and its limit bounds the work: what is that common says next to nothing.
    SELECT word, document_id, ordinal
    FROM words, LATERAL (
        SELECT document_id, ordinal
        FROM visible_chunks
        WHERE :by_text AND tenant_id = :tenant_id AND text_vector @@ word
          AND (:document_ids::text[] IS NULL OR document_id = ANY(:document_ids))
          AND (:collection::text IS NULL OR collection = :collection)
          AND (:tags::text[] IS NULL OR tags @> :tags)
          AND (:media_types::text[] IS NULL OR media_type = ANY(:media_types))
          AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
        LIMIT {common}
    ) found
),
weights AS (
    -- Inverse document frequency, as in BM25. Common words count only where there are no others.
    SELECT word, ln(1 + (greatest(total, n) - n + 0.5) / (n + 0.5)) AS weight
    FROM (SELECT word, count(*) AS n, min(count(*)) OVER () AS least FROM matches GROUP BY word) counted,
         (SELECT sum(chunk_count) AS total FROM documents WHERE tenant_id = :tenant_id) size
    WHERE n < {common} OR least = {common}
),
by_vector AS (
    SELECT document_id, ordinal, row_number() OVER (ORDER BY distance, document_id, ordinal) AS rank
    FROM (
        SELECT document_id, ordinal,
               embedding::halfvec({dimensions}) <=> :embedding::halfvec({dimensions}) AS distance
        FROM visible_chunks
        WHERE :by_vector AND tenant_id = :tenant_id AND embedder = {embedder}
          AND (:document_ids::text[] IS NULL OR document_id = ANY(:document_ids))
          AND (:collection::text IS NULL OR collection = :collection)
          AND (:tags::text[] IS NULL OR tags @> :tags)
          AND (:media_types::text[] IS NULL OR media_type = ANY(:media_types))
          AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
        ORDER BY embedding::halfvec({dimensions}) <=> :embedding::halfvec({dimensions})
        LIMIT :depth
    ) nearest
),
by_text AS (
    SELECT document_id, ordinal, row_number() OVER (ORDER BY score DESC, density DESC, document_id, ordinal) AS rank
    FROM (
        SELECT document_id, ordinal, score, ts_rank(text_vector, any_word, 1) AS density
        FROM (
            SELECT document_id, ordinal, sum(weight) AS score
            FROM matches JOIN weights USING (word)
            GROUP BY document_id, ordinal
            ORDER BY score DESC, document_id, ordinal
            LIMIT :depth
        ) best
        JOIN visible_chunks USING (document_id, ordinal)
        CROSS JOIN (SELECT string_agg(word::text, ' | ')::tsquery AS any_word FROM weights) query
        WHERE tenant_id = :tenant_id
    ) measured
),
fused AS (
    SELECT document_id, ordinal, v.rank AS vector_rank, t.rank AS text_rank,
           coalesce(1.0 / (60 + v.rank), 0) + coalesce(1.0 / (60 + t.rank), 0) AS score
    FROM by_vector v FULL JOIN by_text t USING (document_id, ordinal)
),
page AS (
    SELECT *
    FROM (
        SELECT *, row_number() OVER (PARTITION BY document_id ORDER BY score DESC, ordinal) AS rank_in_document
        FROM fused
    ) ranked
    WHERE :hits_per_document::integer IS NULL OR rank_in_document <= :hits_per_document
    ORDER BY score DESC, document_id, ordinal
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
       -- Marks are control characters, which no stored text contains.
       CASE WHEN highlighted.words IS NULL THEN c.text ELSE
           ts_headline('english', c.text, highlighted.words, E'HighlightAll=true, StartSel=\x02, StopSel=\x03')
       END AS marked
FROM page p
CROSS JOIN (SELECT string_agg(word::text, ' | ')::tsquery AS words FROM words) highlighted
JOIN visible_chunks c ON c.tenant_id = :tenant_id AND c.document_id = p.document_id AND c.ordinal = p.ordinal
ORDER BY p.score DESC, c.document_id, c.ordinal;
