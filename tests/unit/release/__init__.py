"""The files of a release: lock files, version, notes, workflows, container and service."""
