"""What a release asks for, item by item; `agent/release_check.py` is the command."""
