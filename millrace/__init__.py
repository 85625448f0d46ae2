"""How it is run: the command line and the embedded local Kafka and Postgres."""
