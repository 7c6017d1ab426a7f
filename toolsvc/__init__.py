"""toolsvc: tools, and the record of runs. It calls no model and talks to no browser."""
