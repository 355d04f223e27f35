"""The worker runtime beside Celery, Dramatiq and a bare loop. See README.md."""
