-- The tables that the streams keep. Every primary key starts with tenant_id, so that they can be distributed by it.

CREATE EXTENSION IF NOT EXISTS vector;

-- What readers see of a document: its visible revision. Written only by the index stage.
CREATE TABLE documents (
    tenant_id    text NOT NULL,
    document_id  text NOT NULL,
    revision     bigint NOT NULL,
    deleted      boolean NOT NULL DEFAULT false,
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
    tenant_id    text NOT NULL,
    document_id  text NOT NULL,
    revision     bigint NOT NULL,
    ordinal      integer NOT NULL,
    page         integer,
    start_char   bigint NOT NULL,
    end_char     bigint NOT NULL,
    token_count  integer NOT NULL,
    content_hash text NOT NULL,
    headings     text NOT NULL,
    places       jsonb NOT NULL,
    text         text NOT NULL,
    embedder     text NOT NULL,
    embedding    halfvec NOT NULL,
    text_vector  tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', headings), 'B') || to_tsvector('english', text)
    ) STORED,
    PRIMARY KEY (tenant_id, document_id, revision, ordinal)
) PARTITION BY HASH (tenant_id);

CREATE TABLE document_chunks_0 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE document_chunks_1 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE document_chunks_2 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE document_chunks_3 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE document_chunks_4 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE document_chunks_5 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE document_chunks_6 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE document_chunks_7 PARTITION OF document_chunks FOR VALUES WITH (MODULUS 8, REMAINDER 7);

CREATE INDEX document_chunks_text ON document_chunks USING gin (text_vector);
CREATE INDEX document_chunks_content ON document_chunks (tenant_id, content_hash);

-- Where each revision stands, also those that never became visible.
CREATE TABLE document_processing (
    tenant_id    text NOT NULL,
    document_id  text NOT NULL,
    revision     bigint NOT NULL,
    state        text NOT NULL,
    -- The place of the state in its course, so that a late report never moves a revision backwards.
    state_rank   smallint NOT NULL,
    chunks_total integer,
    chunks_done  integer NOT NULL DEFAULT 0,
    attempt      integer NOT NULL DEFAULT 1,
    error        jsonb,
    filename     text,
    title        text,
    media_type   text,
    received_at  timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, document_id, revision)
);

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

CREATE TABLE conversation_messages_default PARTITION OF conversation_messages DEFAULT;

-- How far each consumer group's effects reach into each partition, per tenant. Moves in the same transaction as the
-- effects; what lies at or before it is not applied again.
CREATE TABLE stream_positions (
    tenant_id      text NOT NULL,
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    partition      integer NOT NULL,
    position       bigint NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, consumer_group, topic, partition)
);

-- The Kafka clusters this database was fed from, numbered in order. A cluster feeds all tenants: its tenant is '*'.
CREATE TABLE stream_epochs (
    tenant_id  text NOT NULL DEFAULT '*' CHECK (tenant_id = '*'),
    cluster_id text NOT NULL,
    epoch      integer NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, cluster_id),
    UNIQUE (tenant_id, epoch)
);

-- The chunks that readers may see, with what is known of their document.
CREATE VIEW visible_chunks AS
SELECT c.*, d.media_type, d.filename, d.title, d.collection, d.tags, d.metadata
FROM documents d
JOIN document_chunks c ON c.tenant_id = d.tenant_id AND c.document_id = d.document_id AND c.revision = d.revision
WHERE NOT d.deleted;
