"""`python3 dev.py up`: the whole of Baton on this machine, until Ctrl-C."""

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from shared.settings.yaml_file import YamlFileError
from stack import credentials, model_servers
from stack.errors import StackError
from stack.home import Home, Running, Started
from stack.postgres import binaries
from stack.preflight import misspelt, require_stores, wrong_settings
from stack.program import ROOT, is_taken
from stack.running import MARK, Plan, Size, Stack
from stack.terminal import Terminal

#: The pace of a good model, so that people see an answer being written.
DEMO_TOKENS_PER_S = 40.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Run until a signal, or until something cannot go on; returns the exit status."""
    options = _parse(arguments)
    terminal = Terminal()
    without = None if options.stores_only else _without_a_model(demo=options.demo)
    if without:
        print(without, file=sys.stderr)
        return 2
    if wrong := wrong_settings(os.environ):
        print("\n".join([*wrong, "docs/settings.md explains every setting."]), file=sys.stderr)
        return 2
    for sentence in misspelt(os.environ):
        print(f"baton: {sentence}", file=sys.stderr)
    home = Home(options.home)
    try:
        require_stores(os.environ)
        home.make()
        with home.held():
            _refuse_taken_ports(options)
            return asyncio.run(_Up(options, home, terminal).run())
    except StackError as error:
        print(f"baton: {error}", file=sys.stderr)
        return 1


class _Up:
    """One `up`: start, run until something happens, stop."""

    def __init__(self, options: argparse.Namespace, home: Home, terminal: Terminal) -> None:
        self._options = options
        self._home = home
        self._terminal = terminal
        self._stop = asyncio.Event()
        self._stack = Stack(
            _plan(options, home),
            show=terminal.show,
            news=terminal.news,
            changed=self._write_down,
        )

    async def run(self) -> int:
        """Tell the whole story; returns the exit status."""
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        self._terminal.say(f"Starting Baton in {_short(self._home.path)} …")
        if not await self._unless_stopped(self._stack.start()):
            await self._stack.stop()
            return 0
        if self._options.stores_only:
            self._say_stores_are_ready()
        else:
            self._say_ready()
        failure = await self._unless_stopped(self._stack.failure(), default=None)
        if failure:
            self._terminal.news("up", f"{failure}. Stopping.")
        else:
            self._terminal.say("\nStopping; Ctrl-C again ends everything at once.")
        await self._stack.stop()
        return 1 if failure else 0

    def _signalled(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            return
        self._forcing = asyncio.create_task(self._stack.stop_by_force())

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any], default: Any = False) -> Any:
        """The work's result (`True` for none), or `default` as soon as somebody wants to stop."""
        doing = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            return doing.result() or True
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return default

    def _write_down(self) -> None:
        processes = {
            name: Started(
                pid=child.pid,
                argv=child.program.argv,
                tier=child.program.tier,
                stop_signal=child.program.stop_signal,
            )
            for name, child in self._stack.processes.items()
            if child.pid
        }
        self._home.remember(
            Running(
                supervisor=os.getpid(),
                gateway_url=next(iter(self._stack.gateway_urls), "stores only"),
                redis_port=self._stack.redis_port,
                processes=processes,
            )
        )

    def _say_ready(self) -> None:
        stack, options = self._stack, self._options
        url = stack.gateway_urls[0]
        here = "" if options.port == 8000 else f"BATON_URL={url} "
        if self._home_option:
            here += f"BATON_HOME={shlex.quote(str(options.home))} "
        hello = (
            'pick Assistant and write "hello", then\n'
            '           "Please set my display name to Ada in my profile"'
            if options.demo
            else "pick an agent and write to it"
        )
        lines = [
            f"ready: {url}" + "".join(f"  {more}" for more in stack.gateway_urls[1:]),
            "",
            f"  page     sign in with any e-mail, {hello}",
            f'  shell    {here}.venv/bin/baton chat "hello"',
            f"  redis    python3 dev.py redis {self._home_option}XRANGE runs - +",
        ]
        if stack.redis_port:
            lines.append(f"           {stack.redis_url('reader')}  (read only)")
        lines += ["  stop     Ctrl-C", ""]
        self._terminal.say("\n".join(lines))

    def _say_stores_are_ready(self) -> None:
        """Say how to reach them; the next start makes migrations, for a backup may be older."""
        lines = ["ready: Redis and Postgres, and nothing else", ""]
        if not self._stack.plan.database_url:
            (self._home.path / "postgres" / MARK).unlink(missing_ok=True)
            url = shlex.quote(self._stack.database_url)
            lines.append(f'  shell    export DATABASE_URL={url} PATH="{binaries()}:$PATH"')
        if self._stack.redis_port:
            lines.append(f"  redis    python3 dev.py redis {self._home_option}--admin")
        self._terminal.say("\n".join([*lines, "  stop     Ctrl-C", ""]))

    @property
    def _home_option(self) -> str:
        home = self._options.home
        return "" if home == Path(".baton") else f"--home {shlex.quote(str(home))} "


def _without_a_model(*, demo: bool) -> str | None:
    """Why there is no model server that could be asked."""
    try:
        if demo:
            _tell_who_is_not_the_demo()
        elif not model_servers.is_any(os.environ):
            return (
                "No model server: set OPENAI_API_KEY (OpenAI) or OPENAI_BASE_URL (LM Studio, "
                "Ollama, any compatible\nserver), name some in src/config/models.yaml "
                "(docs/models.md), or try everything with a\nscripted model: "
                "python3 dev.py up --demo"
            )
    except YamlFileError as error:
        return f"{error}\ndocs/models.md explains the file."
    return None


def _tell_who_is_not_the_demo() -> None:
    if others := model_servers.beside_the_demo(os.environ):
        print(
            f"{model_servers.VARIABLE} names a file whose {', '.join(others)} are asked at their "
            "base_url, not at the demo model.",
            file=sys.stderr,
        )


def _plan(options: argparse.Namespace, home: Home) -> Plan:
    environ = dict(os.environ)
    if sys.stdout.isatty():
        environ.setdefault("BATON_LOG_FORMAT", "text")
    if not (home.path / credentials.FILE).exists() and (home.path / "postgres").exists():
        raise StackError(
            f"{home.path / credentials.FILE} is missing, but there is data made with it: restore "
            f"it, or remove {home.path} to start anew"
        )
    return Plan(
        folder=home.path,
        credentials=credentials.load_or_create(home.path),
        environ=environ,
        size=Size(gateways=options.gateways, runners=options.runners, toolsvc=options.toolsvc),
        demo=options.demo,
        demo_tokens_per_s=DEMO_TOKENS_PER_S,
        first_port=options.port,
        database_url=os.environ.get("DATABASE_URL") or None,
        redis_url=os.environ.get("REDIS_URL") or None,
    )


def _refuse_taken_ports(options: argparse.Namespace) -> None:
    for port in range(options.port, options.port + options.gateways):
        if is_taken(port):
            raise StackError(
                f"port {port} is taken: stop what listens there, or choose another with --port"
            )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py up", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="use a scripted model; no key needed")
    parser.add_argument("--port", type=_port, default=8000, help="of the first gateway (8000)")
    for kind in ("gateways", "runners", "toolsvc"):
        parser.add_argument(f"--{kind}", type=_count, default=1, metavar="N", help="how many (1)")
    parser.add_argument(
        "--home", type=Path, default=Path(".baton"), help="data and secrets (.baton)"
    )
    parser.add_argument(
        "--stores-only", action="store_true", help="Redis and Postgres alone, as for a restore"
    )
    options = parser.parse_args(arguments)
    if options.stores_only:
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            parser.error("--stores-only: both stores are others', DATABASE_URL and REDIS_URL say")
        options.gateways = options.runners = options.toolsvc = 0
        options.demo = False
    return options


def _count(text: str) -> int:
    return _between(text, 1, 32)


def _port(text: str) -> int:
    return _between(text, 1, 65_000)


def _between(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low} to {high}")
    return value


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
