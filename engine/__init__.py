"""Pure work with no broker and no database: parse, chunk, embed, answer, cite."""
