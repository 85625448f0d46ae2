-- A table with the columns that Millrace keeps of a chunk, for the measures of COPY and of an index build alone.
CREATE EXTENSION IF NOT EXISTS vector;
DROP TABLE IF EXISTS bare;
CREATE TABLE bare (
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
    embedding    halfvec NOT NULL
);
