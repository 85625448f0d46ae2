-- Queries over two generations: {leader} has the outcomes, {follower} makes them anew.

-- name: outcome^
-- What became of a revision in the leader; nothing comes back before that is settled. A cancellation stands from the
-- moment it came in, and takes a while to settle.
SELECT d.revision > :revision AS superseded, p.submission,
       coalesce(p.state = 'cancelled', false) OR EXISTS (
           SELECT FROM g{leader}.dead_letters l
           WHERE l.tenant_id = d.tenant_id AND l.document_id = d.document_id AND l.revision = :revision
             AND l.state = 'discarded'
       ) AS cancelled
FROM g{leader}.documents d
LEFT JOIN g{leader}.document_processing p
    ON p.tenant_id = d.tenant_id AND p.document_id = d.document_id AND p.revision = :revision
WHERE d.tenant_id = :tenant_id AND d.document_id = :document_id
  AND (d.settled >= :revision OR p.state = 'cancelled');

-- name: progress^
-- How many documents the leader has, how many of them are as far in the follower, how many are not though the leader
-- settled them a while ago, and how many that the leader shows have failed there.
SELECT count(*) AS total, count(*) FILTER (WHERE f.settled >= l.settled) AS done,
       count(*) FILTER (
           WHERE l.settled > coalesce(f.settled, 0) AND coalesce(lp.updated_at, l.indexed_at) < now() - :soon::interval
       ) AS late,
       count(*) FILTER (WHERE p.state = 'failed') AS failed
FROM g{leader}.documents l
LEFT JOIN g{leader}.document_processing lp
    ON lp.tenant_id = l.tenant_id AND lp.document_id = l.document_id AND lp.revision = l.settled
LEFT JOIN g{follower}.documents f ON f.tenant_id = l.tenant_id AND f.document_id = l.document_id
LEFT JOIN g{follower}.document_processing p
    ON p.tenant_id = l.tenant_id AND p.document_id = l.document_id AND p.revision = l.revision AND NOT l.deleted;

-- name: hold_outcomes#
-- The leader settles nothing more until the transaction ends; readers do not notice.
LOCK TABLE g{leader}.documents IN SHARE MODE;

-- name: behind$
-- How many documents the leader has settled further than the follower.
SELECT count(*)
FROM g{leader}.documents l
LEFT JOIN g{follower}.documents f ON f.tenant_id = l.tenant_id AND f.document_id = l.document_id
WHERE l.settled > coalesce(f.settled, 0);

-- name: inherit_letters!
-- What was done with letters, and those that only the live generation gets (of questions), go to the one that takes over.
INSERT INTO g{follower}.dead_letters AS f SELECT * FROM g{leader}.dead_letters l
WHERE l.state <> 'open' OR l.topic = :questions
ON CONFLICT (tenant_id, letter_id) DO UPDATE SET state = excluded.state, history = excluded.history;

-- name: inherit_published!
-- What the topic has, it need not get again.
UPDATE g{follower}.dead_letters f SET published = true
FROM g{leader}.dead_letters l
WHERE l.tenant_id = f.tenant_id AND l.letter_id = f.letter_id AND l.published AND NOT f.published;

-- name: own_blobs
-- Blobs that go with the follower: what it derived, and originals of revisions that the leader has done with.
SELECT DISTINCT u.tenant_id, u.blob_key
FROM g{follower}.blob_uses u
WHERE u.derived OR (
    NOT EXISTS (
        SELECT FROM g{leader}.blob_uses other
        WHERE other.tenant_id = u.tenant_id AND other.blob_key = u.blob_key AND NOT other.ended
    ) AND EXISTS (
        SELECT FROM g{leader}.documents d
        WHERE d.tenant_id = u.tenant_id AND d.document_id = u.document_id AND d.revision > u.revision
    )
)
LIMIT :limit;

-- name: forget_blob!
-- The object store has deleted it.
DELETE FROM g{follower}.blob_uses WHERE tenant_id = :tenant_id AND blob_key = :blob_key;

-- name: sample_questions
-- Headings and titles as questions, with the tenant they belong to, spread over all documents.
SELECT tenant_id, question
FROM (
    SELECT DISTINCT tenant_id, coalesce(nullif(split_part(headings, E'\n', -1), ''), title) AS question
    FROM g{leader}.visible_chunks
) headings
WHERE length(question) BETWEEN 4 AND 200
ORDER BY md5(tenant_id || question)
LIMIT :limit;
