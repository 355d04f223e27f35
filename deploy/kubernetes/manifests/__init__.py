"""The manifests of Darkroom on Kubernetes, as functions that give objects to be written as YAML."""
