"""The recorder door: what the services say, into the catalog, and the news of it."""
