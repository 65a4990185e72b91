"""Definitions as files: how a person writes a step type, and how it becomes an object that a cluster keeps."""
