"""What can go wrong while a stack starts or runs, each in a sentence for whoever started it."""


class StackError(Exception):
    """The stack cannot start or go on; the sentence says why and what to do."""


class PortLostError(StackError):
    """Somebody else listens on the port that was picked for a program."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} found its port taken")
        self.program = program


class GaveUpError(StackError):
    """A program ended so often, or so finally, that starting it again would not help."""
