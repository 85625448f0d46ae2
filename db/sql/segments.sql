-- name: claim$
-- Whether nobody else seals, indexes and merges now; nobody will until the transaction ends.
SELECT pg_try_advisory_xact_lock('segments'::regclass::oid::integer, -1);

-- name: unindexed$
-- A sealed segment without an index.
SELECT number FROM segments WHERE state = 'sealed' ORDER BY number LIMIT 1;

-- name: index!
-- Give it one, and count the words of its chunks.
SELECT count_words(:number), index_segment(:number);

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

-- name: alike$
-- Indexed segments of one bucket and of much the same size that are enough for one `fanout` times as large, as long as
-- the server has the memory to build its index (half as much again as the vectors).
SELECT array_agg(number ORDER BY number)
FROM (
    SELECT *, pg_relation_size(to_regclass('segment_' || number)) AS bytes FROM segments WHERE state = 'indexed'
) sized
GROUP BY bucket, embedder, dimensions, round(log(:fanout, greatest(bytes, 1) / :sealed_bytes::numeric))
HAVING count(*) >= :fanout AND sum(bytes) * 1.5 < pg_size_bytes(current_setting('maintenance_work_mem'))
ORDER BY min(number)
LIMIT 1;

-- name: wasteful$
-- The oldest indexed segment of a bucket in which less than half of the stored vectors are of visible revisions.
SELECT array[min(s.number)]
FROM segments s
WHERE s.state = 'indexed'
GROUP BY s.bucket, s.embedder, s.dimensions
HAVING sum(s.vectors) > 2 * (
    SELECT coalesce(sum(d.chunk_count), 0) FROM documents d WHERE bucket_of(d.tenant_id) = s.bucket
)
ORDER BY s.bucket
LIMIT 1;

-- name: merge!
-- Make one of them.
SELECT merge_segments(:numbers);

-- name: outdated$
-- A segment that was retired so long ago that no reader is left.
SELECT number FROM segments WHERE state = 'retired' AND changed_at < now() - :grace::interval ORDER BY number LIMIT 1;

-- name: drop!
-- Let go of it.
SELECT drop_segment(:number);

-- name: backlog$
-- How many segments wait for being sealed, or for their index.
SELECT count(*) FROM segments
WHERE state = 'sealed'
   OR (state = 'open' AND pg_relation_size(to_regclass('segment_' || number)) >= :sealed_bytes);

-- name: merge_pending_words!
-- Put what the text indexes took lately in its place; until then each search for words reads all of that.
SELECT gin_clean_pending_list(c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'document_chunks_text'::regclass;
