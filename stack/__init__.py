"""Everything Baton needs, started on one machine: stores, demo model, services.

`dev.py` makes the virtual environment and calls `python -m stack`; the tests start the same
programs through `stack.running`.
"""
