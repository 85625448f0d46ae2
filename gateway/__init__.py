"""What is asked: the HTTP interface over the tables that the streams keep."""
