"""What is kept: migrations, pools, named queries per table, and the object store."""
