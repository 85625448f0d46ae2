"""Chat: questions travel to the answer stage through Kafka, and answers come back the same way."""
