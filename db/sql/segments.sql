-- name: claim$
-- Whether nobody else seals, indexes and merges now; nobody will until the transaction ends.
SELECT pg_try_advisory_xact_lock('segments'::regclass::oid::integer, -1);

-- name: uncounted$
-- A sealed segment whose words are not counted.
SELECT number FROM segments WHERE state = 'sealed' ORDER BY number LIMIT 1;

-- name: count!
-- Count them.
SELECT count_words(:number);

-- name: full$
-- An open segment that is large enough to be sealed.
SELECT number FROM segments
WHERE state = 'open' AND pg_relation_size(to_regclass('segment_' || number)) >= :sealed_bytes
ORDER BY number
LIMIT 1;

-- name: patience!
-- How long to wait for the transactions that add vectors; others are held up meanwhile.
SELECT set_config('lock_timeout', :milliseconds::integer::text, true);

-- name: seal!
-- Have no more vectors added to it.
SELECT seal_segment(:number);

-- name: mergeable$
-- Segments of one bucket that are to become one: those without a graph where they are enough for one; or `fanout` of much
-- the same size with graphs, if the server has the memory to build the new one (half as much again as the vectors).
SELECT array_agg(number ORDER BY number)
FROM (
    SELECT *, pg_relation_size(to_regclass('segment_' || number)) AS bytes FROM segments
    WHERE state IN ('counted', 'indexed')
) sized
GROUP BY bucket, embedder, dimensions, state,
         CASE WHEN state = 'indexed' THEN round(log(:fanout, greatest(bytes, 1) / :graph_bytes::numeric)) END
HAVING CASE WHEN state = 'counted' THEN sum(bytes) >= :graph_bytes ELSE
           count(*) >= :fanout AND sum(bytes) * 1.5 < pg_size_bytes(current_setting('maintenance_work_mem'))
       END
ORDER BY min(number)
LIMIT 1;

-- name: wasteful$
-- The oldest sealed segment of a bucket in which less than half of the stored vectors are of visible revisions.
SELECT array[min(s.number)]
FROM segments s
WHERE s.state IN ('counted', 'indexed')
GROUP BY s.bucket, s.embedder, s.dimensions
HAVING sum(s.vectors) > 2 * (
    SELECT coalesce(sum(d.chunk_count), 0) FROM documents d WHERE bucket_of(d.tenant_id) = s.bucket
)
ORDER BY s.bucket
LIMIT 1;

-- name: merge!
-- Make one of them.
SELECT merge_segments(:numbers, :graph_bytes);

-- name: outdated$
-- A segment that was retired so long ago that no reader is left.
SELECT number FROM segments WHERE state = 'retired' AND changed_at < now() - :grace::interval ORDER BY number LIMIT 1;

-- name: drop!
-- Let go of it.
SELECT drop_segment(:number);

-- name: backlog$
-- How many segments wait for being sealed, or counted.
SELECT count(*) FROM segments
WHERE state = 'sealed'
   OR (state = 'open' AND pg_relation_size(to_regclass('segment_' || number)) >= :sealed_bytes);

-- name: merge_pending_words!
-- Put what the text indexes took lately in its place; until then each search for words reads all of that.
SELECT gin_clean_pending_list(c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'document_chunks_text'::regclass;
