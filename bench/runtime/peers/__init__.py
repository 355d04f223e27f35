"""The same work on Celery and Dramatiq, and a bare confluent-kafka loop."""
