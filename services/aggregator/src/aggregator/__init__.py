"""Joins the parts of a photo, routes it by confidence, and counts imports."""
