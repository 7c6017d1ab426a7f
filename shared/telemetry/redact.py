"""Taking secrets out of text that people will see: logs, errors, spans."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

HIDDEN = "[hidden]"

#: Keys and tokens as they are commonly written; what follows a name like `api_key` is hidden too.
_SECRETS = re.compile(
    r"""
      \b(?:sk|rk|pk|ek)[-_][A-Za-z0-9_-]{12,}          # OpenAI's and others' keys
    | \bbt_[A-Za-z0-9_-]{16,}                          # our own keys
    | \bxox[abprs]-[A-Za-z0-9-]{10,}                   # Slack
    | \bgh[pousr]_[A-Za-z0-9]{20,}                     # GitHub
    | \bAKIA[0-9A-Z]{16}\b                             # AWS
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*   # JWT
    | (?<=[Bb]earer\ )[A-Za-z0-9._~+/-]{12,}=*
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                  # user:password in a URL
    """,
    re.VERBOSE,
)
#: Every one of those has one of these in it, which is found several times as fast.
_SIGNS = re.compile(r"[srpe]k[-_]|bt_|xox|gh[pousr]_|AKIA|eyJ|earer |://")
_NAMED = re.compile(
    r"(?i)(\b[\w-]*(?:api[_-]?key|password|passwd|secret|token|authorization)[\w-]*"
    r"\\?[\"']?\s*[:=]\s*\\?[\"']?)([^\s\"'\\,;&}]{6,})"
)
_NAMES = re.compile(r"(?i)key|passw|secret|token|authorization")
#: A data URL says within this what it is.
_BEGINNING = 200
#: Anything shorter would be hidden in the middle of words.
_SHORTEST = 6
_SECRET_FIELD = re.compile(r"(?i)(api[_-]?key|password|secret|authorization|cookie)")


def redact(text: str) -> str:
    """The text with everything hidden that looks like a secret, and without the data of a file."""
    if text[:5] == "data:" and (end := text.find(";base64,", 0, _BEGINNING)) > 0:
        return f"{text[:end]};base64,[{len(text) - end - 8} characters]"
    if _SIGNS.search(text):
        text = _SECRETS.sub(HIDDEN, text)
    if (":" in text or "=" in text) and _NAMES.search(text):
        text = _NAMED.sub(rf"\g<1>{HIDDEN}", text)
    return text


def secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(_NAMES.search(name))


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """Values of variables that are secret by their names."""
    return [value for name, value in environ.items() if secret_name(name)]


def without(text: str, secrets: Sequence[str]) -> str:
    """The text with these secrets hidden, and whatever looks like one; of URLs the passwords."""
    known = {*secrets, *(_password(secret) for secret in secrets)}
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return redact(text)


def _password(secret: str) -> str:
    try:
        return (urlsplit(secret).password or "") if "://" in secret else ""
    except ValueError:
        return ""


def redact_value(value: Any) -> Any:
    """The same for JSON-like values, by field names too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: HIDDEN
            if isinstance(item, str) and _SECRET_FIELD.search(str(key))
            else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_value(item) for item in value]
    return value
