"""One client's conversations: `python -m matrix.probe CLIENT`, by a Python that has this client.

It needs nothing else, for that Python may have nothing else. Where it is and with which key it
comes is in the environment (see `rest.py`); standard output gets a line of JSON with the client's
version, then one for each conversation.
"""
