"""The compatibility matrix: conversations through clients of others, against real stacks."""
