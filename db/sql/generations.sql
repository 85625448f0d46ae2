-- name: list_generations
-- All of them, in the order in which they were made.
SELECT number, state, embedder, chunker, created_at, changed_at FROM generations ORDER BY number;

-- name: live^
-- The one that readers see.
SELECT number, state, embedder, chunker, created_at, changed_at FROM generations WHERE state = 'live';

-- name: hold_live$
-- The one that readers see, which it stays until the transaction ends.
SELECT number FROM generations WHERE state = 'live' FOR SHARE;

-- name: standing^
-- Where one stands: whether it is live, whether it speaks to the outside (a moment longer, so that none falls silent
-- before the next one has noticed), and whose outcomes it follows: the live one's; the live one itself, those of the
-- one in whose place it came.
SELECT coalesce(own.state = 'live', false) AS live,
       coalesce(own.state = 'live' OR (own.state = 'kept' AND own.changed_at > now() - :grace::interval), false) AS speaks,
       leader.number AS leader
FROM (SELECT) one
LEFT JOIN generations own ON own.number = :number
LEFT JOIN LATERAL (
    SELECT number FROM generations
    WHERE number <> :number AND state IN ('live', 'kept')
    ORDER BY state = 'live' DESC, changed_at DESC
    LIMIT 1
) leader ON true;

-- name: lock_generations#
-- One change at a time, until the transaction ends.
LOCK TABLE generations IN SHARE ROW EXCLUSIVE MODE;

-- name: announce$
-- Give out a number. Nobody serves it yet.
INSERT INTO generations (state, embedder, chunker) VALUES ('preparing', :embedder, :chunker) RETURNING number;

-- name: create_tables#
-- Its schema, with all its tables, which are empty.
SELECT create_generation({number});

-- name: move$
-- Change a state, unless it is in another one than expected; answers true if it did.
UPDATE generations SET state = :state, changed_at = now()
WHERE number = :number AND state = ANY(:from_states::text[])
RETURNING true;

-- name: drop_tables#
-- All that it keeps in Postgres.
DROP SCHEMA IF EXISTS g{number} CASCADE;

-- name: forget!
-- It is gone.
DELETE FROM generations WHERE number = :number AND state = 'abandoned';

-- name: has_tables$
-- Whether its schema is there.
SELECT to_regnamespace('g' || :number::integer) IS NOT NULL;
