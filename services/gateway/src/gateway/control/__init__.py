"""The control door: what only one replica may do. Outbox relay and import runner."""
