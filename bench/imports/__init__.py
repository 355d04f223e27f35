"""Imports of many photos, from the folder to the catalog, and what counting them takes."""
