"""The contract of Darkroom's services: schemas, topics and identities."""
