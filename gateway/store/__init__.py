"""The SQL of the gateway: one file per noun, plain functions on a connection."""
