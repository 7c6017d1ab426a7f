"""The runner: carries runs. It drives the Agents SDK's own loop, and alone calls models."""
