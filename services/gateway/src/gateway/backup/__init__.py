"""Backups: the catalog, the objects and the registry's schemas in one folder, and back.

What the catalog says is one moment; objects are copied after it, since those that it names are
there already and are never changed. Kafka's records are not in it: what is still to be done is in
the catalog, and is said again after a restore (`control/republish.py`).
"""
