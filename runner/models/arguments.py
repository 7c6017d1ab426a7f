"""The arguments with which the SDK calls a model, by place or by name, as its caller likes."""

from typing import Any, NamedTuple

#: Where the SDK's `Model` has those that are read here.
_PLACES = {"input": 1, "model_settings": 2, "handoffs": 5}


class Arguments(NamedTuple):
    """Of one call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """One of them."""
        place = _PLACES[name]
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def having(self, name: str, value: Any) -> "Arguments":
        """The same, with another value for one."""
        place = _PLACES[name]
        if len(self.args) > place:
            return Arguments((*self.args[:place], value, *self.args[place + 1 :]), self.kwargs)
        return Arguments(self.args, self.kwargs | {name: value})
