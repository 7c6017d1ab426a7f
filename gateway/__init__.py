"""The gateway: what people and their programs talk to. It carries no run and calls no model."""
