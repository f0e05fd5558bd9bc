"""Shapes: how values of an annotated type travel as plain msgpack values, and come back."""
