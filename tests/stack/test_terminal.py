"""What people see of the processes' output."""

from io import StringIO

from stack.terminal import Terminal


def test_a_secret_that_an_agent_prints_is_hidden() -> None:
    out = StringIO()
    Terminal(out).show("runner-1", "calling with sk-abcdefghijklmnopqrst now")
    assert out.getvalue() == " runner-1 | calling with [hidden] now\n"
