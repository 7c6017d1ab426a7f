"""Real Sentinels promote a replica that lacks the newest events: the service goes on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from stack.child import Child
from stack.program import Program, Tier, free_port
from stack.resp import Reply, RespConnection, RespError
from stack.valkey import binary
from tests.faults.crowd import PATIENCE_S, Crowd, crowd
from tests.until import until

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

NAME, PASSWORD, WATCHWORD = "mymaster", "of-the-servers", "of-the-sentinels"
#: Events are lost for so long before the master dies.
TAIL_S = 1.0


@dataclass(slots=True)
class Watched:
    """Two servers, one a replica of the other, and three Sentinels."""

    folder: Path
    servers: dict[int, Child] = field(default_factory=dict)  #: by port
    sentinels: dict[int, Child] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """How services find the master."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{NAME}/0?sentinel_password={WATCHWORD}"

    async def start(self) -> None:
        """Start all of it, and wait until everybody knows everybody."""
        master, replica = free_port(), free_port()
        await self._start(self.servers, master, self._server(master))
        await self._start(
            self.servers, replica, [*self._server(replica), f"replicaof 127.0.0.1 {master}"]
        )
        for _ in range(3):
            port = free_port()
            await self._start(self.sentinels, port, self._sentinel(port, master), "--sentinel")
        await self.settled()

    async def settled(self) -> None:
        """Wait until each Sentinel knows the two others, and the replica has a master."""
        for port in self.sentinels:
            await until(partial(self._knows_all, port), within_s=PATIENCE_S)
        replica = self.replica_of(await self.master())
        await until(partial(self._is_linked, replica), within_s=PATIENCE_S)

    async def master(self) -> int:
        """The port of the master, by a Sentinel."""
        found = await self.ask(next(iter(self.sentinels)), "SENTINEL", "MASTERS")
        return int(_facts(found)[b"port"])

    def replica_of(self, master: int) -> int:
        """The port of the other server."""
        (other,) = self.servers.keys() - {master}
        return other

    async def promoted(self, before: int) -> None:
        """Wait until another than before is the master, to all Sentinels."""
        for port in self.sentinels:
            await until(partial(self._has_another, port, before), within_s=PATIENCE_S)

    async def ask(self, port: int, *command: str) -> Reply:
        """One command to a server or Sentinel."""
        password = PASSWORD if port in self.servers else WATCHWORD

        def asked() -> Reply:
            with RespConnection(f"redis://:{password}@127.0.0.1:{port}") as redis:
                return redis.call(*command)

        return await asyncio.to_thread(asked)

    async def stop(self) -> None:
        """Stop all of it."""
        for child in (*self.sentinels.values(), *self.servers.values()):
            await child.stop_by_force()

    async def _knows_all(self, port: int) -> bool:
        facts = _facts(await self.ask(port, "SENTINEL", "MASTERS"))
        names = (b"num-other-sentinels", b"num-slaves", b"flags")
        return tuple(facts[name] for name in names) == (b"2", b"1", b"master")

    async def _has_another(self, port: int, before: int) -> bool:
        return int(_facts(await self.ask(port, "SENTINEL", "MASTERS"))[b"port"]) != before

    async def _is_linked(self, replica: int) -> bool:
        return (await self.replication(replica)).get("master_link_status") == "up"

    async def replication(self, port: int) -> dict[str, str]:
        """What a server tells of it."""
        info = await self.ask(port, "INFO", "replication")
        assert isinstance(info, bytes)
        return dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)

    async def _start(
        self, among: dict[int, Child], port: int, configuration: list[str], *options: str
    ) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        config = folder / "server.conf"
        config.write_text("\n".join([*configuration, f"port {port}", f'dir "{folder}"']) + "\n")
        program = Program(
            name=f"server-{port}",
            tier=Tier.STORE,
            argv=(str(binary()), str(config), *options),
            env={"PATH": os.defpath},
            cwd=folder,
            ready=partial(_answers, port),
            leashed=True,
            chatty=False,
            patience_s=5,
        )
        among[port] = Child(program, show=_silent, news=_silent)
        among[port].start()
        await among[port].ready()

    def _server(self, port: int) -> list[str]:
        return [
            *("bind 127.0.0.1", 'save ""', "repl-diskless-sync-delay 0"),
            *(f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"),
        ]

    def _sentinel(self, port: int, master: int) -> list[str]:
        return [
            *("bind 127.0.0.1", f"requirepass {WATCHWORD}"),
            f"sentinel monitor {NAME} 127.0.0.1 {master} 2",
            f"sentinel sentinel-pass {WATCHWORD}",
            f"sentinel auth-pass {NAME} {PASSWORD}",
            f"sentinel down-after-milliseconds {NAME} 1000",
            f"sentinel failover-timeout {NAME} 6000",
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("sentinels"))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(
    watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Crowd]:
    async with crowd(tmp_path_factory.mktemp("failover"), redis_url=watched.url) as made:
        yield made


async def test_a_sentinel_that_hangs_holds_nobody_up(people: Crowd, watched: Watched) -> None:
    master = await watched.master()

    async def fault() -> None:
        with _stopped(next(iter(watched.sentinels.values()))):
            await watched.ask(master, "CLIENT", "KILL", "TYPE", "normal")
            await watched.ask(master, "CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(TAIL_S)

    (await people.live_through(fault)).assert_unharmed()


async def test_a_master_that_lives_becomes_a_replica(people: Crowd, watched: Watched) -> None:
    await watched.settled()

    async def fault() -> None:
        master = await watched.master()
        await watched.ask(next(iter(watched.sentinels)), "SENTINEL", "FAILOVER", NAME)
        await watched.promoted(master)

    (await people.live_through(fault)).assert_unharmed()


async def test_a_master_dies_and_its_replica_lacks_the_newest_events(
    people: Crowd, watched: Watched
) -> None:
    await watched.settled()

    async def fault() -> None:
        master = await watched.master()
        replica = watched.replica_of(master)
        # The replica can sign in no more, so that what comes from now on stays with the master.
        await watched.ask(replica, "CONFIG", "SET", "masterauth", "wrong")
        await watched.ask(master, "CLIENT", "KILL", "TYPE", "replica")
        await asyncio.sleep(TAIL_S)
        had, has = await watched.replication(master), await watched.replication(replica)
        assert int(had["master_repl_offset"]) > int(has["slave_repl_offset"])
        watched.servers[master].kill(signal.SIGKILL, again=False)
        await watched.promoted(master)

    (await people.live_through(fault)).assert_unharmed()


@contextmanager
def _stopped(child: Child) -> Iterator[None]:
    child.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        child.kill(signal.SIGCONT)


def _facts(reply: Reply) -> dict[bytes, bytes]:
    """Names and values of the first that a Sentinel tells of."""
    assert isinstance(reply, list)
    if not reply:
        return {}
    flat = reply[0]
    assert isinstance(flat, list)
    words = [word for word in flat if isinstance(word, bytes)]
    return dict(zip(words[::2], words[1::2], strict=True))


def _answers(port: int) -> bool:
    try:
        with RespConnection(f"redis://127.0.0.1:{port}", timeout_s=0.5) as redis:
            redis.call("PING")
    except RespError as refused:
        return str(refused).startswith("NOAUTH")
    except OSError:
        return False
    return True


def _silent(name: str, line: str) -> None:
    """Nobody has to see what these say."""
