DROP FUNCTION matching, nearest, drop_segment, merge_segments, count_words, count_tenants, seal_segment,
    add_vectors, create_segment, open_segment, bucket_of;
DROP TYPE near, match, found;
