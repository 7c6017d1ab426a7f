"""A scripted stand-in for a model provider, so that everything can be tried without a key.

It speaks OpenAI's Responses and Chat Completions APIs, plain and streaming, and follows the rules
of `script.py`. Directives in the user's text (`directives.py`) bend single answers for tests and
benchmarks. What it received can be read back under `/_demo/`. Start it with
`python -m stack.demo_model --port 8801`; docs/demo-model.md is its handbook.
"""
