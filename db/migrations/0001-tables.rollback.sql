DO $$
DECLARE
    generation integer;
BEGIN
    FOR generation IN SELECT number FROM generations LOOP
        EXECUTE format('DROP SCHEMA g%s CASCADE', generation);
    END LOOP;
END
$$;
DROP FUNCTION create_generation;
DROP TABLE generations, stream_epochs, conversation_messages, conversations;
