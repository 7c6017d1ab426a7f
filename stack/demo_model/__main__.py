"""`python -m stack.demo_model --port N`: serves until it is told to stop."""

import argparse
import logging

import uvicorn

from stack.demo_model.app import DemoModel


def main() -> None:
    """Parse the command line, serve, and say where."""
    options = _options()
    config = uvicorn.Config(
        DemoModel(tokens_per_s=options.tokens_per_s),
        host=options.host,
        port=options.port,
        interface="asgi3",
        lifespan="off",
        log_level="error",
        access_log=False,
        backlog=4096,
        # Longer than clients keep idle connections, or one may be closed just as it is reused.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=1,  # hanging answers never end by themselves
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    listening = config.bind_socket()
    listening.listen(
        config.backlog
    )  # from here on nobody is refused, though the loop is not up yet
    host, port = listening.getsockname()[:2]
    print(f"demo model on http://{host}:{port}/v1", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def _is_news(record: logging.LogRecord) -> bool:
    """All but uvicorn's complaint about answers that were cut on purpose."""
    return not str(record.msg).startswith("ASGI callable returned without completing")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack.demo_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument(
        "--tokens-per-s", type=float, help="pace of all answers (default: as fast as possible)"
    )
    return parser.parse_args()


main()
