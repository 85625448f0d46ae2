-- The tables that the streams keep. Every primary key starts with tenant_id, so that they can be distributed by it.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE conversations (
    tenant_id       text NOT NULL,
    conversation_id text NOT NULL,
    title           text NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, conversation_id)
);

-- Messages by month; months are made ahead (see db/partitions.py), the default partition catches what nobody foresaw.
CREATE TABLE conversation_messages (
    tenant_id       text NOT NULL,
    conversation_id text NOT NULL,
    created_at      timestamptz NOT NULL,
    message_id      text NOT NULL,
    request_id      text NOT NULL,
    role            text NOT NULL CHECK (role IN ('user', 'assistant')),
    text            text NOT NULL,
    citations       jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant_id, conversation_id, created_at, message_id)
) PARTITION BY RANGE (created_at);

CREATE INDEX conversation_messages_citations ON conversation_messages USING gin (citations jsonb_path_ops);

CREATE TABLE conversation_messages_default PARTITION OF conversation_messages DEFAULT;

-- The logs that this database was fed from (see schemas/log.py), numbered in order. All tenants have them: '*'.
CREATE TABLE stream_epochs (
    tenant_id  text NOT NULL DEFAULT '*' CHECK (tenant_id = '*'),
    log_id     text NOT NULL,
    epoch      integer NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, log_id),
    UNIQUE (tenant_id, epoch)
);

-- An index generation: everything that is derived from the log and the blobs, in a schema of its own (g1, g2, ...), so
-- that another one is built beside it, and dropped whole. Connections choose theirs by search_path.
CREATE FUNCTION create_generation(number integer) RETURNS void LANGUAGE plpgsql AS $create_generation$
DECLARE
    path text := current_setting('search_path');
BEGIN
    EXECUTE format('CREATE SCHEMA g%s', number);
    PERFORM set_config('search_path', format('g%s, public', number), true);

    -- What readers see of a document: its visible revision. Written by the index stage, but for `cancelled`.
    CREATE TABLE documents (
        tenant_id    text NOT NULL,
        document_id  text NOT NULL,
        -- The visible revision, or that of the deletion; 0 before the first.
        revision     bigint NOT NULL DEFAULT 0,
        deleted      boolean NOT NULL DEFAULT true,
        -- Up to where in documents.embedded its events are applied: what comes again, or from a worker that lost its
        -- partition, changes nothing. It moves in the same transaction as the effects.
        applied      bigint NOT NULL DEFAULT 0,
        -- Up to where in documents.submitted everything that was asked for this document has its outcome.
        settled      bigint NOT NULL DEFAULT 0,
        -- Unfinished revisions before this place in documents.submitted are not wanted any more.
        cancelled    bigint NOT NULL DEFAULT 0,
        media_type   text,
        filename     text,
        title        text,
        collection   text,
        tags         text[] NOT NULL DEFAULT '{}',
        metadata     jsonb NOT NULL DEFAULT '{}',
        blob_key     text,
        text_key     text,
        size_bytes   bigint,
        text_chars   bigint,
        page_count   integer,
        chunk_count  integer NOT NULL DEFAULT 0,
        indexed_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, document_id)
    );

    -- Chunks of the visible revision, and of the one being indexed; a row counts only while its revision is its document's.
    -- text is document_text[start_char:end_char], headings the heading path, one a line. Both page and headings are those of
    -- the chunk's beginning; places are where in it others begin, as {start, page, heading_path}.
    CREATE TABLE document_chunks (
        tenant_id    text STORAGE PLAIN NOT NULL,
        document_id  text STORAGE PLAIN NOT NULL,
        revision     bigint NOT NULL,
        ordinal      integer NOT NULL,
        page         integer,
        start_char   bigint NOT NULL,
        end_char     bigint NOT NULL,
        token_count  integer NOT NULL,
        content_hash text STORAGE PLAIN NOT NULL,
        headings     text NOT NULL,
        places       jsonb NOT NULL,
        -- What is long is kept apart and as it is: whoever looks for words reads small rows, and writing is quicker.
        text         text STORAGE EXTERNAL NOT NULL,
        embedder     text STORAGE PLAIN NOT NULL,
        embedding    halfvec STORAGE EXTERNAL NOT NULL,
        text_vector  tsvector STORAGE EXTERNAL NOT NULL GENERATED ALWAYS AS (
            setweight(to_tsvector('english', headings), 'B') || to_tsvector('english', text)
        ) STORED,
        PRIMARY KEY (tenant_id, document_id, revision, ordinal)
    ) PARTITION BY HASH (tenant_id);

    FOR remainder IN 0..7 LOOP
        EXECUTE format(
            'CREATE TABLE document_chunks_%s PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER %s)
             WITH (toast_tuple_target = 128)',
            remainder, remainder
        );
    END LOOP;

    CREATE INDEX document_chunks_text ON document_chunks USING gin (text_vector);
    CREATE INDEX document_chunks_content ON document_chunks (tenant_id, content_hash);

    -- The vectors of visible revisions once more, narrow and apart: in tables segment_<number>, which 0002-segments.sql
    -- explains. A segment is open (vectors are added to it), sealed (none are), counted (its words are, too), indexed (it
    -- has a graph), or retired: its vectors are in another one, and it is only kept for readers who began before that.
    CREATE TABLE segments (
        tenant_id  text NOT NULL DEFAULT '*' CHECK (tenant_id = '*'),
        number     integer NOT NULL GENERATED ALWAYS AS IDENTITY,
        -- Which tenants it is of: those of one bucket (see bucket_of).
        bucket     integer NOT NULL,
        embedder   text NOT NULL,
        dimensions integer NOT NULL,
        state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'sealed', 'counted', 'indexed', 'retired')),
        vectors    integer,  -- how many it has, once it is not open any more
        changed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, number)
    );
    CREATE UNIQUE INDEX segments_open ON segments (tenant_id, bucket, embedder, dimensions) WHERE state = 'open';

    -- How many vectors a segment that is not open any more has of each tenant.
    CREATE TABLE segment_tenants (
        tenant_id  text NOT NULL,
        segment    integer NOT NULL,
        vectors    integer NOT NULL,
        PRIMARY KEY (tenant_id, segment)
    );

    -- In how many chunks of a tenant a word is, as estimated from sealed segments; under '' how many chunks these had.
    -- Words that are not here are rare.
    CREATE TABLE word_counts (
        tenant_id  text NOT NULL,
        word       text NOT NULL,
        chunks     integer NOT NULL,
        PRIMARY KEY (tenant_id, word)
    );

    -- Where each revision stands, also those that never became visible.
    CREATE TABLE document_processing (
        tenant_id    text NOT NULL,
        document_id  text NOT NULL,
        revision     bigint NOT NULL,
        state        text NOT NULL,
        chunks_total integer,
        chunks_done  integer NOT NULL DEFAULT 0,
        attempt      integer NOT NULL DEFAULT 1,
        error        jsonb,
        filename     text,
        title        text,
        media_type   text,
        -- The submission, with its content in the object store: what a retry or a reprocessing begins with.
        submission   jsonb,
        -- How often the parse stage has begun, which of these runs the stored chunks are of, and the text that it made.
        runs         integer NOT NULL DEFAULT 0,
        run          integer NOT NULL DEFAULT 0,
        text_key     text,
        received_at  timestamptz NOT NULL DEFAULT now(),
        updated_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, document_id, revision)
    );

    -- Which revision needs which blob, noted before it is written (or, an upload, before it is read), so that none is left
    -- behind. A use ends in the transaction that makes it needless; the row goes once the object store has deleted the blob.
    CREATE TABLE blob_uses (
        tenant_id    text NOT NULL,
        blob_key     text NOT NULL,
        document_id  text NOT NULL,
        revision     bigint NOT NULL,
        -- Made by the parse stage, as opposed to what was submitted.
        derived      boolean NOT NULL,
        ended        boolean NOT NULL DEFAULT false,
        PRIMARY KEY (tenant_id, blob_key, document_id, revision)
    );
    CREATE INDEX blob_uses_document ON blob_uses (tenant_id, document_id);
    CREATE INDEX blob_uses_unused ON blob_uses (tenant_id) WHERE ended;

    -- What could not be processed. A document's letter is written in the transaction that ends its revision as failed, so
    -- that no revision is both indexed and here. Its key, value and headers, sent to its topic again, are a new attempt.
    CREATE TABLE dead_letters (
        tenant_id     text NOT NULL,
        letter_id     text NOT NULL,
        state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded', 'superseded')),
        document_id   text,
        revision      bigint,
        stage         text NOT NULL,
        error_type    text NOT NULL,
        error_message text NOT NULL,
        attempt       integer NOT NULL,
        topic         text NOT NULL,
        partition     integer NOT NULL,
        position      bigint NOT NULL,
        key           bytea,
        value         bytea,
        -- Where the value is, if it is too large for a record.
        value_key     text,
        headers       jsonb NOT NULL,
        written_at    timestamptz NOT NULL,
        failed_at     timestamptz NOT NULL DEFAULT now(),
        -- What was done with it, oldest first, as {at, action, position}.
        history       jsonb NOT NULL DEFAULT '[]',
        published     boolean NOT NULL DEFAULT false,
        PRIMARY KEY (tenant_id, letter_id)
    );
    CREATE INDEX dead_letters_document ON dead_letters (tenant_id, document_id);
    CREATE INDEX dead_letters_unpublished ON dead_letters (tenant_id) WHERE NOT published;

    -- The chunks that readers may see, with what is known of their document.
    CREATE VIEW visible_chunks AS
    SELECT c.*, d.media_type, d.filename, d.title, d.collection, d.tags, d.metadata
    FROM documents d
    JOIN document_chunks c ON c.tenant_id = d.tenant_id AND c.document_id = d.document_id AND c.revision = d.revision
    WHERE NOT d.deleted;

    PERFORM set_config('search_path', path, true);
END
$create_generation$;

-- Which generations there are. Exactly one is live: the one that readers see. A number is never given out twice, since
-- topics, consumer groups and caches are named after it.
CREATE TABLE generations (
    tenant_id  text NOT NULL DEFAULT '*' CHECK (tenant_id = '*'),
    number     integer NOT NULL GENERATED BY DEFAULT AS IDENTITY (START WITH 2),
    -- Workers serve those that are being built, live, or kept to go back to.
    state      text NOT NULL CHECK (state IN ('preparing', 'building', 'live', 'kept', 'abandoned')),
    -- What it is made with: the settings of embedder and chunker that differ from a worker's own, without secrets.
    embedder   jsonb NOT NULL DEFAULT '{}',
    chunker    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Since when it is in its state.
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, number)
);
CREATE UNIQUE INDEX generations_live ON generations (tenant_id) WHERE state = 'live';

SELECT create_generation(1);
INSERT INTO generations (number, state) VALUES (1, 'live');
