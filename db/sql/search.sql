-- name: search
-- The best chunks by vector, by text, or by both fused by reciprocal rank (Cormack et al., 2009), in one snapshot, so
-- that no answer mixes two revisions of a document. The dimensions are filled in when the file is loaded, since an index
-- on an expression only serves the very same expression.
WITH query AS (
    -- The lexemes OR-ed, since the words of a question are hints: AND of them all finds next to nothing.
    SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS terms
    FROM unnest(to_tsvector('english', :text))
),
by_vector AS (
    SELECT document_id, ordinal, row_number() OVER (ORDER BY distance) AS rank, 1 - distance AS similarity
    FROM (
        SELECT document_id, ordinal,
               embedding::halfvec({dimensions}) <=> :embedding::halfvec({dimensions}) AS distance
        FROM visible_chunks
        WHERE :by_vector AND tenant_id = :tenant_id
          AND vector_dims(embedding) = {dimensions} AND embedder = :embedder
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
    SELECT document_id, ordinal, row_number() OVER (ORDER BY score DESC, document_id, ordinal) AS rank, score
    FROM (
        -- 1: divided by 1 + log of the length, so that long chunks do not win by length alone.
        SELECT document_id, ordinal, ts_rank(text_vector, query.terms, 1) AS score
        FROM query, visible_chunks
        WHERE :by_text AND tenant_id = :tenant_id AND text_vector @@ query.terms
          AND (:document_ids::text[] IS NULL OR document_id = ANY(:document_ids))
          AND (:collection::text IS NULL OR collection = :collection)
          AND (:tags::text[] IS NULL OR tags @> :tags)
          AND (:media_types::text[] IS NULL OR media_type = ANY(:media_types))
          AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
        ORDER BY score DESC, document_id, ordinal
        LIMIT :depth
    ) best
),
fused AS (
    SELECT document_id, ordinal, v.rank AS vector_rank, t.rank AS text_rank,
           coalesce(1.0 / (60 + v.rank), 0) + coalesce(1.0 / (60 + t.rank), 0) AS score
    FROM by_vector v FULL JOIN by_text t USING (document_id, ordinal)
    ORDER BY score DESC, document_id, ordinal
    OFFSET :offset LIMIT :limit
)
SELECT c.document_id, c.ordinal, f.score::float8 AS score, f.vector_rank, f.text_rank, c.revision, c.title, c.filename,
       c.media_type, c.collection, c.tags, c.metadata, c.page, c.start_char, c.end_char, c.headings, c.text,
       -- Marks are control characters, which no stored text contains.
       CASE WHEN query.terms IS NULL THEN c.text ELSE
           ts_headline('english', c.text, query.terms, E'HighlightAll=true, StartSel=\x02, StopSel=\x03')
       END AS marked
FROM fused f
CROSS JOIN query
JOIN visible_chunks c ON c.tenant_id = :tenant_id AND c.document_id = f.document_id AND c.ordinal = f.ordinal
ORDER BY f.score DESC, c.document_id, c.ordinal;
