-- What a stage does to a document at one go: each a function, so that it is one statement, for one document or several.
-- Whatever a function reads behind a lock is what was committed before it: each of its statements has its own snapshot.
-- Where one call is about several documents, these are in the order of their ids, so that nobody waits in a circle.

-- Whether anything may still come of a revision: it is newer than the visible one, and neither cancelled nor ended.
CREATE FUNCTION is_wanted(of_tenant text, of_document text, of_revision bigint) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM documents
        WHERE tenant_id = of_tenant AND document_id = of_document
          AND (revision >= of_revision OR cancelled > of_revision)
    ) AND NOT EXISTS (
        SELECT FROM document_processing
        WHERE tenant_id = of_tenant AND document_id = of_document AND revision = of_revision
          AND state IN ('indexed', 'failed', 'cancelled', 'deleted')
    );
END
$$;

-- Lock a document's row until the transaction ends, created (invisible) if it is new, and say what its visible revision is.
CREATE FUNCTION lock_document(of_tenant text, of_document text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
    visible bigint;
BEGIN
    INSERT INTO documents AS d (tenant_id, document_id) VALUES (of_tenant, of_document)
    ON CONFLICT (tenant_id, document_id) DO UPDATE SET applied = d.applied
    RETURNING revision INTO visible;
    RETURN visible;
END
$$;

-- Note that a revision of a locked document needs a blob; false if that use has ended already.
CREATE FUNCTION note_use(of_tenant text, of_document text, of_revision bigint, of_blob text, is_derived boolean)
RETURNS boolean LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO blob_uses AS b (tenant_id, blob_key, document_id, revision, derived)
    VALUES (of_tenant, of_blob, of_document, of_revision, is_derived)
    ON CONFLICT (tenant_id, blob_key, document_id, revision) DO UPDATE SET derived = excluded.derived WHERE NOT b.ended;
    RETURN FOUND;
END
$$;

-- A run of the parse stage begins: count it, move what was only received on, and note what was submitted, with where its
-- content lies if that was known once, and that it needs that blob and the text that it will make. `run` is its number, null
-- if the revision is forgotten; `wanted`, whether anything may still come of it.
CREATE FUNCTION begin_run(
    of_tenant text, of_document text, of_revision bigint, submitted jsonb, original text, extracted text,
    OUT run integer, OUT state text, OUT wanted boolean, OUT begun boolean
) LANGUAGE plpgsql
AS $$
BEGIN
    wanted := false;
    begun := false;
    IF lock_document(of_tenant, of_document) > of_revision THEN
        RETURN;
    END IF;
    INSERT INTO document_processing AS p (
        tenant_id, document_id, revision, state, runs, submission, filename, title, media_type
    )
    VALUES (
        of_tenant, of_document, of_revision, 'parsing', 1, submitted, submitted ->> 'filename', submitted ->> 'title',
        submitted ->> 'media_type'
    )
    ON CONFLICT (tenant_id, document_id, revision) DO UPDATE
    SET state = CASE p.state WHEN 'received' THEN 'parsing' ELSE p.state END,
        updated_at = CASE p.state WHEN 'received' THEN now() ELSE p.updated_at END,
        runs = p.runs + 1, submission = coalesce(p.submission, excluded.submission),
        filename = coalesce(p.filename, excluded.filename), title = coalesce(p.title, excluded.title),
        media_type = coalesce(p.media_type, excluded.media_type)
    RETURNING p.runs, p.state INTO run, state;
    wanted := is_wanted(of_tenant, of_document, of_revision);
    begun := original IS NOT NULL AND note_use(of_tenant, of_document, of_revision, original, false);
    IF wanted THEN
        PERFORM note_use(of_tenant, of_document, of_revision, extracted, true);
    END IF;
END
$$;

-- Remove the chunks of a range of revisions.
CREATE FUNCTION delete_chunks(of_tenant text, of_document text, lowest bigint, highest bigint) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM document_chunks
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision BETWEEN lowest AND highest;
END
$$;

-- Make room for a batch of chunks in a locked document, and say what is to be done with it: 'store' it, 'skip' it where it
-- is not wanted any more or of an older run than what is stored, or 'miss' those before it, which a new run has to begin
-- with. The chunks of an older run go, and the text that it had made.
CREATE FUNCTION take_batch(
    of_tenant text, of_document text, of_revision bigint, of_run integer, of_text text, first_ordinal integer,
    last_ordinal integer
) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
    stored record;
BEGIN
    IF NOT is_wanted(of_tenant, of_document, of_revision) THEN
        RETURN 'skip';
    END IF;
    SELECT run, text_key INTO stored FROM document_processing
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision = of_revision;
    IF of_run = stored.run THEN
        DELETE FROM document_chunks
        WHERE tenant_id = of_tenant AND document_id = of_document AND revision = of_revision
          AND ordinal BETWEEN first_ordinal AND last_ordinal;
        RETURN 'store';
    ELSIF of_run < stored.run THEN
        RETURN 'skip';
    ELSIF first_ordinal > 0 THEN
        RETURN 'miss';
    END IF;
    INSERT INTO document_processing (tenant_id, document_id, revision, state, run, text_key)
    VALUES (of_tenant, of_document, of_revision, 'embedding', of_run, of_text)
    ON CONFLICT (tenant_id, document_id, revision) DO UPDATE SET run = excluded.run, text_key = excluded.text_key;
    IF stored.run > 0 THEN
        PERFORM delete_chunks(of_tenant, of_document, of_revision, of_revision);
        UPDATE blob_uses SET ended = true
        WHERE tenant_id = of_tenant AND blob_key = stored.text_key AND document_id = of_document
          AND revision = of_revision;
    END IF;
    RETURN 'store';
END
$$;

-- A revision, or a deletion, takes the place of all before it: their chunks, reports and letters, and the uses of all blobs
-- but those that are kept.
CREATE FUNCTION replace_older(of_tenant text, of_document text, of_revision bigint, kept text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- What has chunks has a report, too.
    DELETE FROM document_processing
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision < of_revision;
    IF FOUND THEN
        PERFORM delete_chunks(of_tenant, of_document, 0, of_revision - 1);
    END IF;
    UPDATE dead_letters
    SET state = 'superseded', history = history || jsonb_build_array(
        jsonb_build_object('at', now(), 'action', 'superseded', 'position', of_revision)
    )
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision <= of_revision AND state = 'open';
    UPDATE blob_uses SET ended = true
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision <= of_revision AND NOT ended
      AND blob_key <> ALL(kept);
END
$$;

-- Make a revision of a locked document the visible one, in place of all before it, add its vectors to those that are
-- searched, and note that everything up to it has its outcome: where all its chunks are stored, else nothing happens.
-- `leaves_blobs`: whether it has blobs that may not be needed any more.
CREATE FUNCTION publish_revision(
    of_tenant text, of_document text, of_revision bigint, chunk_total integer, document jsonb,
    OUT stored integer, OUT leaves_blobs boolean
) LANGUAGE plpgsql
AS $$
BEGIN
    SELECT count(*) INTO stored FROM document_chunks
    WHERE tenant_id = of_tenant AND document_id = of_document AND revision = of_revision;
    IF stored <> chunk_total THEN
        RETURN;
    END IF;
    UPDATE documents d
    SET revision = of_revision, deleted = false, settled = greatest(d.settled, of_revision), media_type = n.media_type,
        filename = n.filename, title = n.title, collection = n.collection, tags = n.tags, metadata = n.metadata,
        blob_key = n.blob_key, text_key = n.text_key, size_bytes = n.size_bytes, text_chars = n.text_chars,
        page_count = n.page_count, chunk_count = stored, indexed_at = now()
    FROM jsonb_populate_record(NULL::documents, document) n
    WHERE d.tenant_id = of_tenant AND d.document_id = of_document;
    PERFORM add_vectors(of_tenant, of_document, of_revision);
    PERFORM replace_older(of_tenant, of_document, of_revision, ARRAY[document ->> 'blob_key', document ->> 'text_key']);
    leaves_blobs := EXISTS (
        SELECT FROM blob_uses WHERE tenant_id = of_tenant AND document_id = of_document AND ended
    );
END
$$;
