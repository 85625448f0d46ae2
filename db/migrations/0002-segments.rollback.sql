DROP FUNCTION matching, nearest, conditions_of, drop_segment, merge_segments, count_words, count_tenants, seal_segment,
    add_vectors, create_segment, open_segment, bucket_of;
DROP TYPE near, match, hit;
