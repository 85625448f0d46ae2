DROP FUNCTION publish_revision, replace_older, take_batch, delete_chunks, begin_run, note_use, lock_document,
    is_wanted;
