-- Vectors are added to an open segment, a table without an index of vectors that a search reads whole. Once it is large it
-- is sealed; several sealed ones are merged into one with an index (HNSW) that is built in one go, and these into larger
-- ones, as in a log-structured merge tree (O'Neil et al., 1996). Each vector is added once, in the transaction that makes
-- its revision visible; those of revisions that are not visible any more stay until a merge leaves them out.
--
-- Whoever adds vectors holds `segments` in ROW SHARE mode, whoever seals or merges in EXCLUSIVE mode; readers hold neither.
-- They read `segments` and what it leads to in one snapshot, so they miss nothing and see nothing twice.

CREATE FUNCTION bucket_of(tenant_id text) RETURNS integer LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(tenant_id, 0) & 7)::integer;

-- The number of the open segment that takes a bucket's vectors; made if there is none.
CREATE FUNCTION open_segment(in_bucket integer, made_by text, of_dimensions integer) RETURNS integer LANGUAGE plpgsql
AS $$
DECLARE
    known integer;
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT number INTO known FROM segments
        WHERE tenant_id = '*' AND bucket = in_bucket AND embedder = made_by AND dimensions = of_dimensions
          AND state = 'open';
        IF FOUND THEN
            RETURN known;
        END IF;
        -- Nobody else makes it then; at the second look somebody has made it, or it is ours to make.
        PERFORM pg_advisory_xact_lock('segments'::regclass::oid::integer, in_bucket);
    END LOOP;
    INSERT INTO segments (bucket, embedder, dimensions) VALUES (in_bucket, made_by, of_dimensions)
    RETURNING number INTO known;
    PERFORM create_segment(known, of_dimensions);
    RETURN known;
END
$$;

CREATE FUNCTION create_segment(number integer, dimensions integer) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE %s.segment_%s (
            tenant_id text NOT NULL, document_id text NOT NULL, revision bigint NOT NULL, ordinal integer NOT NULL,
            embedding halfvec(%s) NOT NULL, PRIMARY KEY (tenant_id, document_id, revision, ordinal)
        )',
        (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'segments'::regclass), number, dimensions
    );
    IF dimensions <= 3000 THEN  -- a row fits into a page, and a scan is far quicker where vectors are not kept elsewhere
        EXECUTE format('ALTER TABLE segment_%s ALTER embedding SET STORAGE PLAIN', number);
    END IF;
END
$$;

-- Add the vectors of a revision that becomes visible, in place of those of older ones where that costs nothing.
CREATE FUNCTION add_vectors(of_tenant text, of_document text, of_revision bigint) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
    made record;
    segment integer;
BEGIN
    LOCK TABLE segments IN ROW SHARE MODE;
    FOR made IN
        SELECT DISTINCT embedder, vector_dims(embedding) AS dimensions FROM document_chunks
        WHERE tenant_id = of_tenant AND document_id = of_document AND revision = of_revision
    LOOP
        segment := open_segment(bucket_of(of_tenant), made.embedder, made.dimensions);
        EXECUTE format('DELETE FROM segment_%s WHERE tenant_id = $1 AND document_id = $2 AND revision < $3', segment)
        USING of_tenant, of_document, of_revision;
        EXECUTE format(
            'INSERT INTO segment_%s
             SELECT tenant_id, document_id, revision, ordinal, embedding FROM document_chunks
             WHERE tenant_id = $1 AND document_id = $2 AND revision = $3 AND embedder = $4',
            segment
        )
        USING of_tenant, of_document, of_revision, made.embedder;
    END LOOP;
END
$$;

-- Have no more vectors added to a segment: waits for those who do.
CREATE FUNCTION seal_segment(of_number integer) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    LOCK TABLE segments IN EXCLUSIVE MODE;
    UPDATE segments SET state = 'sealed', changed_at = clock_timestamp() WHERE number = of_number;
    PERFORM count_tenants(of_number);
END
$$;

CREATE FUNCTION count_tenants(of_number integer) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO segment_tenants SELECT tenant_id, $1, count(*) FROM segment_%s GROUP BY tenant_id', of_number
    )
    USING of_number;
    UPDATE segments SET vectors = (SELECT coalesce(sum(vectors), 0) FROM segment_tenants WHERE segment = of_number)
    WHERE number = of_number;
END
$$;

-- Estimate from every eighth page of a sealed segment in how many of its tenants' chunks each word is.
CREATE FUNCTION count_words(of_number integer) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
    sampled constant integer := 8;
    large record;
BEGIN
    FOR large IN SELECT tenant_id, vectors FROM segment_tenants WHERE segment = of_number AND vectors > 2000 LOOP
        INSERT INTO word_counts AS known
        SELECT large.tenant_id, word, sampled * ndoc
        FROM ts_stat(format(
            'SELECT c.text_vector
             FROM segment_%s v TABLESAMPLE SYSTEM (%s) REPEATABLE (1)
             JOIN document_chunks c USING (tenant_id, document_id, revision, ordinal)
             WHERE v.tenant_id = %L',
            of_number, 100.0 / sampled, large.tenant_id
        ))
        WHERE ndoc > 2
        UNION ALL SELECT large.tenant_id, '', large.vectors
        ON CONFLICT (tenant_id, word) DO UPDATE SET chunks = known.chunks + excluded.chunks;
    END LOOP;
    UPDATE segments SET state = 'counted', changed_at = clock_timestamp() WHERE number = of_number;
END
$$;

-- Put the vectors of visible revisions from segments of one kind, which change no more, into a new one. From `graph_bytes`
-- on it gets a graph (Malkov and Yashunin, 2016), built in one process: the others go on indexing and searching.
CREATE FUNCTION merge_segments(of_numbers integer[], graph_bytes bigint) RETURNS void LANGUAGE plpgsql
SET max_parallel_maintenance_workers = 0
AS $$
DECLARE
    source integer;
    made record;
BEGIN
    INSERT INTO segments (bucket, embedder, dimensions, state)
    SELECT bucket, embedder, dimensions, 'counted' FROM segments WHERE number = of_numbers[1]
    RETURNING number, dimensions INTO made;
    PERFORM create_segment(made.number, made.dimensions);
    FOREACH source IN ARRAY of_numbers LOOP
        EXECUTE format(
            'INSERT INTO segment_%s SELECT v.* FROM segment_%s v
             JOIN documents d ON d.tenant_id = v.tenant_id AND d.document_id = v.document_id AND d.revision = v.revision
             WHERE NOT d.deleted',
            made.number, source
        );
    END LOOP;
    PERFORM count_tenants(made.number);
    IF pg_relation_size(to_regclass('segment_' || made.number)) >= graph_bytes THEN
        EXECUTE format(
            'CREATE INDEX ON segment_%s USING hnsw (embedding halfvec_ip_ops) WITH (m = 16, ef_construction = 64)',
            made.number
        );
        UPDATE segments SET state = 'indexed' WHERE number = made.number;
    END IF;
    EXECUTE format('ANALYZE segment_%s', made.number);
    UPDATE segments SET state = 'retired', changed_at = clock_timestamp() WHERE number = ANY(of_numbers);
    DELETE FROM segment_tenants WHERE segment = ANY(of_numbers);
END
$$;

CREATE FUNCTION drop_segment(of_number integer) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('DROP TABLE segment_%s', of_number);
    DELETE FROM segments WHERE number = of_number;
END
$$;

-- What filters ask of a document `d`, in terms of parameters 3 to 7 of a statement; empty where there are none.
CREATE FUNCTION conditions_of(
    of_documents text[], in_collection text, with_tags text[], of_media_types text[], with_metadata jsonb
) RETURNS text LANGUAGE sql IMMUTABLE
RETURN concat(
    CASE WHEN of_documents IS NOT NULL THEN ' AND d.document_id = ANY($3)' END,
    CASE WHEN in_collection IS NOT NULL THEN ' AND d.collection = $4' END,
    CASE WHEN with_tags IS NOT NULL THEN ' AND d.tags @> $5' END,
    CASE WHEN of_media_types IS NOT NULL THEN ' AND d.media_type = ANY($6)' END,
    CASE WHEN with_metadata IS NOT NULL THEN ' AND d.metadata @> $7' END
);

CREATE TYPE near AS (document_id text, ordinal integer, distance float8);

-- The visible chunks of a tenant that are nearest to a vector, nearest first, at most `depth`. Null filters are none.
--
-- All vectors are unit vectors, so that the negative inner product orders them as the cosine distance does, and takes less.
-- A segment without a graph is read whole, and so is one whose graph would be followed for longer than that takes, since
-- few of its vectors pass the filters or are the tenant's: that is exact. Graphs, or else one of the segments, are asked
-- first, and the others only for what is nearer than all that gave: to compare a vector then takes half as long. Where
-- nothing is filtered, each segment gives its nearest without a look at their documents; should too many of these turn out
-- to be of older revisions, or of deleted documents, all is read once more, exactly.
CREATE FUNCTION nearest(
    of_tenant text, made_by text, to_vector halfvec, depth integer, of_documents text[], in_collection text,
    with_tags text[], of_media_types text[], with_metadata jsonb
) RETURNS SETOF near LANGUAGE plpgsql STABLE ROWS 100
AS $$
DECLARE
    is_visible constant text := 'd.tenant_id = $1 AND d.document_id = v.document_id AND d.revision = v.revision
                                 AND NOT d.deleted';
    filters constant text :=
        conditions_of(of_documents, in_collection, with_tags, of_media_types, with_metadata);
    -- One step in a graph takes as long as comparing so many vectors one after another.
    step constant integer := 70;
    sampled_documents constant integer := 1000;
    passing float8 := 1;
    only_visible boolean := filters <> '';
    wanted integer;
    breadth integer;
    ahead text;
    others text;
    nearby near[];
    stale integer;
BEGIN
    IF filters <> '' THEN
        EXECUTE format(
            'SELECT count(*) FILTER (WHERE true%s) / greatest(count(*), 1)::float8
             FROM (SELECT * FROM documents WHERE tenant_id = $1 AND NOT deleted LIMIT %s) d',
            filters, sampled_documents
        )
        INTO passing USING of_tenant, to_vector, of_documents, in_collection, with_tags, of_media_types, with_metadata;
    END IF;
    LOOP
        wanted := CASE WHEN only_visible THEN depth ELSE 2 * depth END;
        WITH asked AS (
            SELECT s.number, s.vectors, s.state, t.vectors AS own,
                   -- With more of them, each holds fewer of the nearest.
                   150 + 450 / greatest(count(*) FILTER (WHERE s.state = 'indexed') OVER (), 1) AS breadth
            FROM segments s
            LEFT JOIN segment_tenants t ON t.tenant_id = of_tenant AND t.segment = s.number
            WHERE s.tenant_id = '*' AND s.bucket = bucket_of(of_tenant) AND s.embedder = made_by
              AND s.dimensions = vector_dims(to_vector) AND (s.state = 'open' OR (s.state <> 'retired' AND t.vectors > 0))
        ),
        ways AS (
            SELECT *, state = 'indexed' AND own::float8 * own / vectors * passing > step * asked.breadth
                      AND (filters <> '' OR NOT only_visible) AS by_graph
            FROM asked
        ),
        scans AS (
            SELECT *, by_graph OR row_number() OVER (ORDER BY by_graph DESC, state = 'indexed', vectors) = 1 AS is_ahead,
                   format(
                       '(SELECT v.document_id, v.revision, v.ordinal, %1$s AS distance FROM segment_%2$s v %3$s
                         WHERE %4$s %%s ORDER BY %1$s LIMIT %5$s)',
                       CASE WHEN by_graph THEN 'v.embedding <#> $2' ELSE '(v.embedding <#> $2) + 0' END,
                       number,
                       CASE WHEN NOT only_visible THEN ''
                            -- A document's row is looked at when the graph comes to its vector, and not all of them before.
                            WHEN by_graph THEN format(
                                'CROSS JOIN LATERAL (SELECT FROM documents d WHERE %s%s OFFSET 0) d', is_visible, filters
                            )
                            ELSE 'JOIN documents d ON ' || is_visible || filters
                       END,
                       CASE WHEN own = vectors THEN 'true' ELSE 'v.tenant_id = $1' END,
                       wanted
                   ) AS scan
            FROM ways
        )
        SELECT string_agg(format(scan, ''), ' UNION ALL ') FILTER (WHERE is_ahead),
               string_agg(
                   ' UNION ALL ' || format(scan, 'AND v.embedding <#> $2 < (SELECT distance FROM bound)'), ''
               ) FILTER (WHERE NOT is_ahead),
               max(scans.breadth) FILTER (WHERE by_graph)
        INTO ahead, others, breadth
        FROM scans;
        IF ahead IS NULL THEN
            RETURN;
        END IF;
        IF breadth IS NOT NULL THEN
            PERFORM set_config('hnsw.ef_search', breadth::text, true);
        END IF;
        EXECUTE format(
            'WITH ahead AS MATERIALIZED (SELECT * FROM (%1$s) every ORDER BY distance LIMIT %3$s),
             bound AS MATERIALIZED (
                 SELECT CASE WHEN count(*) = %3$s THEN max(distance) ELSE ''infinity'' END AS distance FROM ahead
             )
             SELECT array_agg((v.document_id, v.ordinal, distance)::near ORDER BY distance)
                        FILTER (WHERE d.document_id IS NOT NULL), count(*) - count(d.document_id)
             FROM (SELECT * FROM (SELECT * FROM ahead %2$s) every ORDER BY distance LIMIT 1.2 * %4$s) v
             LEFT JOIN LATERAL (SELECT * FROM documents d WHERE %5$s OFFSET 0) d ON true',
            ahead, others, wanted, depth, is_visible
        )
        INTO nearby, stale USING of_tenant, to_vector, of_documents, in_collection, with_tags, of_media_types, with_metadata;
        EXIT WHEN only_visible OR stale = 0 OR cardinality(nearby) >= depth;
        only_visible := true;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(nearby[:depth]);
END
$$;

CREATE TYPE match AS (document_id text, ordinal integer, score float8, density float8);
CREATE TYPE hit AS (place bigint, document_id text, revision bigint, ordinal integer);

-- The visible chunks of a tenant with the words of a text, the rarest words weighing most, at most `depth`. Null filters
-- are none.
--
-- A question's words are hints: AND of them all finds next to nothing. Each rare word is looked up for itself, by an index
-- scan that reads no text vector; those that are in very many chunks only where there are no others, and then in pairs.
-- A word that turns out to be in very many finds nothing either where another is in few: which of its chunks are looked at
-- is chance. Among the best of what is found so, all words count.
--
-- The planner would go astray: it takes a text vector for something that lies in its row, the text index' list of pending
-- entries for something that is read here and there, and a table that was not analyzed yet for one of many tenants. So it
-- would rather read all text vectors of a tenant, which takes a hundred times as long. The lookup leaves it no choice: it
-- names the tenant's partition, compares the tenant in a way that no index knows, and does without sequential scans.
CREATE FUNCTION matching(
    of_tenant text, of_text text, depth integer, of_documents text[], in_collection text, with_tags text[],
    of_media_types text[], with_metadata jsonb
) RETURNS SETOF match LANGUAGE plpgsql STABLE ROWS 100
-- Planning takes longer than the rest.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    -- So many matches of a word are looked at: what is more common says little, and each takes 2 us.
    common constant integer := 200;
    filters constant text :=
        conditions_of(of_documents, in_collection, with_tags, of_media_types, with_metadata);
    words tsquery[];
    counts integer[];
    total integer;
    sought tsquery[];
    chunks_of_tenant regclass;
    hits hit[];
BEGIN
    SELECT array_agg(word ORDER BY chunks, word), array_agg(chunks ORDER BY chunks, word)
    INTO words, counts
    FROM (
        SELECT quote_literal(lexeme)::tsquery AS word, coalesce(w.chunks, 0) AS chunks
        FROM unnest(to_tsvector('english', of_text)) t
        LEFT JOIN word_counts w ON w.tenant_id = of_tenant AND w.word = t.lexeme
    ) query;
    SELECT tableoid INTO chunks_of_tenant FROM document_chunks WHERE tenant_id = of_tenant LIMIT 1;
    IF words IS NULL OR chunks_of_tenant IS NULL THEN
        RETURN;
    END IF;
    SELECT chunks INTO total FROM word_counts WHERE tenant_id = of_tenant AND word = '';
    IF total IS NULL THEN
        SELECT sum(chunk_count) INTO total FROM documents WHERE tenant_id = of_tenant;
    END IF;
    SELECT array_agg(word ORDER BY place) INTO sought
    FROM unnest(words, counts) WITH ORDINALITY AS query (word, chunks, place) WHERE chunks <= common;
    IF sought IS NULL THEN
        sought := ARRAY[words[1], words[1] && words[2], words[1] && words[3]];
    END IF;
    EXECUTE format(
        'SELECT array_agg((place, c.document_id, c.revision, c.ordinal)::hit)
         FROM unnest($2) WITH ORDINALITY AS query (word, place)
         CROSS JOIN LATERAL (
             SELECT c.document_id, c.revision, c.ordinal FROM %s c %s
             WHERE c.text_vector @@ word AND c.tenant_id || '''' = $1
             LIMIT %s
         ) c',
        chunks_of_tenant,
        CASE WHEN filters <> '' THEN format(
            'CROSS JOIN LATERAL (
                 SELECT FROM documents d
                 WHERE d.tenant_id = $1 AND d.document_id = c.document_id AND d.revision = c.revision AND NOT d.deleted%s
                 OFFSET 0
             ) d', filters
        ) END,
        common
    )
    INTO hits USING of_tenant, sought, of_documents, in_collection, with_tags, of_media_types, with_metadata;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
        SELECT word, place, greatest(chunks, n) AS n
        FROM unnest(words, counts) WITH ORDINALITY AS query (word, chunks, place)
        LEFT JOIN (SELECT h.place, count(*) AS n FROM unnest(hits) h GROUP BY h.place) seen USING (place)
    ),
    -- Inverse document frequency, as in BM25; of words that are not counted yet, by what was found.
    weighed AS MATERIALIZED (
        SELECT word, place, n, ln(1 + (greatest(total, n) - n + 0.5) / (n + 0.5))::float8 AS weight FROM counted
    ),
    best AS (
        SELECT h.document_id, h.revision, h.ordinal
        FROM unnest(hits) h JOIN weighed w USING (place)
        WHERE w.n < common OR NOT EXISTS (SELECT FROM weighed r WHERE r.n BETWEEN 1 AND common - 1)
        GROUP BY h.document_id, h.revision, h.ordinal
        ORDER BY sum(w.weight) DESC, h.document_id, h.ordinal
        LIMIT depth
    )
    SELECT b.document_id, b.ordinal, (SELECT sum(w.weight) FROM weighed w WHERE c.text_vector @@ w.word) AS score,
           ts_rank(c.text_vector, (SELECT string_agg(w.word::text, ' | ')::tsquery FROM weighed w), 1)::float8 AS density
    FROM best b
    CROSS JOIN LATERAL (
        -- Joined with nothing it is read once, and not once for each word.
        SELECT v.text_vector || '' AS text_vector
        FROM document_chunks v
        WHERE v.tenant_id = of_tenant AND v.document_id = b.document_id AND v.revision = b.revision
          AND v.ordinal = b.ordinal
        OFFSET 0
    ) c
    WHERE EXISTS (
        SELECT FROM documents d
        WHERE d.tenant_id = of_tenant AND d.document_id = b.document_id AND d.revision = b.revision AND NOT d.deleted
    )
    ORDER BY score DESC, density DESC
    LIMIT depth;
END
$$;
