"""`/api/*`: one file per resource."""
