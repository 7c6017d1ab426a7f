"""The gate before one model server: which calls of this runner may begin, first come first served.

How many at once is this runner's share of the fleet's limit. It comes with each heartbeat, as does
whether the server counts as down; in between, and while toolsvc is away, the last word holds. What
this runner hears itself (`Retry-After`) counts at once. Everything here is on the event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.models.retry import Fault, Kind, words_of
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.providers import ProviderNews, ProviderReport, State
from shared.settings.models import ModelsConfig, Provider
from shared.telemetry.metrics import MODEL_DOWN, MODEL_HELD, MODEL_WAITING

#: After so many seconds without news, an end of the time that a server counts as down is believed.
DEAF_S = 3.0
#: A call that waits looks this often whether there is something new to tell.
LOOK_S = 0.5
#: Shorter waits are not worth a word.
TOLD_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Closed:
    """Why no call may begin, and for how many seconds at least."""

    kind: Kind
    for_s: float


class Gate:
    """One provider's."""

    def __init__(
        self, provider: str, policy: Provider, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.provider, self.policy, self._clock = provider, policy, clock
        self._active = 0
        self._waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        self._share: int | None = None
        self._state = State.CLOSED
        self._trying = False  # whether the server works again
        self._open_until = self._heard_at = 0.0
        #: Own and others' `Retry-After`; the own one alone is reported.
        self._held_until = self._fleet_held_until = 0.0
        self._failed = self._answered = self._streak = 0
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ calls
    async def enter(self, *, most_s: float, told: Callable[[Closed | None], None]) -> None:
        """Wait for a turn; whoever gets it gives it back by `leave`.

        `told` is called once where the wait is long, with `None` where others only come first.

        Raises:
            BatonError: the gate was closed for longer than the policy waits, or will be; or no
                turn came within `most_s`.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wait = _Wait(self._clock(), self.policy.retry_for_s, most_s)
        self._waiting.append((turn, wait.since))
        self._admit()
        try:
            while not turn.done():
                now = self._clock()
                closed = self.closed(now)
                wait.go_on(now, closed)
                if wait.worth_a_word(now, closed):
                    told(closed)
                await asyncio.wait({turn}, timeout=LOOK_S)
        except BaseException:
            if turn.done():
                self.leave()
            else:
                self._waiting = deque(one for one in self._waiting if one[0] is not turn)
                self._show()
            raise

    def leave(self) -> None:
        """A call has ended; the next one may begin."""
        self._active -= 1
        self._trying = False
        self._admit()

    # ------------------------------------------------------------------ what calls met
    def answered(self) -> None:
        """The server works."""
        self._answered += 1
        self._streak = 0
        if self._state is not State.CLOSED:
            self._state = State.CLOSED  # the others hear it with the next heartbeats
            self._share = 1 if self.policy.concurrency else None
            self._admit()

    def failed(self, fault: Fault) -> None:
        """A call failed."""
        if fault.kind is Kind.ANSWERED:
            self.answered()
        elif fault.kind in (Kind.DOWN, Kind.HUNG):
            self._failed += 1
            self._streak += 1
            if self._state is State.HALF_OPEN:
                self._share = 0  # until the heartbeat brings word
        elif fault.kind is Kind.BUSY and fault.after_s:
            self._held_until = max(self._held_until, self._clock() + fault.after_s)
            self._show()

    # ------------------------------------------------------------------ the fleet
    def report(self) -> ProviderReport:
        """What the next heartbeat says."""
        now, policy = self._clock(), self.policy
        return ProviderReport(
            limit=policy.concurrency,
            active=self._active,
            waiting=len(self._waiting),
            waited_s=max(0.0, now - self._waiting[0][1]) if self._waiting else 0.0,
            failed=self._failed,
            answered=self._answered,
            streak=self._streak,
            hold_s=max(0.0, self._held_until - now),
            breaker_failures=policy.breaker.failures,
            breaker_open_s=policy.breaker.open_s,
        )

    def heard(self, news: ProviderNews | None) -> None:
        """What the fleet says; `None`: nothing, so the last word holds, or the whole limit."""
        if news is None:
            if self._share is None:
                self._share = self.policy.concurrency
            self._admit()
            return
        now = self._heard_at = self._clock()
        self._share, self._state = news.share, news.state
        self._open_until = now + news.open_s
        self._fleet_held_until = now + news.held_s
        self._admit()

    def closed(self, now: float) -> Closed | None:
        """Why no call may begin, whoever's turn it is; `None` where it is open."""
        held_s = max(self._held_until, self._fleet_held_until) - now
        if held_s > 0:
            return Closed(Kind.BUSY, held_s)
        if self._state is State.CLOSED:
            return None
        open_s = self._open_until - now
        if self._state is State.OPEN and open_s > 0:
            return Closed(Kind.DOWN, open_s)
        chosen = self._state is State.HALF_OPEN and bool(self._share)
        deaf = now - max(self._heard_at, self._open_until) >= DEAF_S
        return None if (chosen or deaf) and not self._trying else Closed(Kind.DOWN, 0.0)

    def _may_begin(self, now: float) -> bool:
        if self.closed(now):
            return False
        if self._state is not State.CLOSED or self.policy.concurrency is None:
            return True
        return self._share is not None and self._active < self._share

    def _admit(self) -> None:
        now = self._clock()
        while self._waiting and self._may_begin(now):
            turn, _ = self._waiting.popleft()
            self._active += 1
            self._trying = self._state is not State.CLOSED
            turn.set_result(None)
        self._show()
        self._wake(now)

    def _wake(self, now: float) -> None:
        """Look again when the time is over for which the gate is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and (closed := self.closed(now)):
            wait_s = max(closed.for_s, LOOK_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._admit)

    def _show(self) -> None:
        now = self._clock()
        MODEL_WAITING.labels(self.provider).set(len(self._waiting))
        MODEL_HELD.labels(self.provider).set(max(self._held_until, self._fleet_held_until) > now)
        MODEL_DOWN.labels(self.provider).set(self._state is not State.CLOSED)


class _Wait:
    """How long one call has waited, and whether it is worth waiting on: rules without I/O."""

    def __init__(self, since: float, patience_s: float, most_s: float) -> None:
        self.since, self._patience_s, self._most_s = since, patience_s, most_s
        self._closed_since: float | None = None
        self._told = False

    def go_on(self, now: float, closed: Closed | None) -> None:
        """Raises the error of a call whose wait is over, or without hope."""
        if closed is None:
            self._closed_since = None
        else:
            self._closed_since = now if self._closed_since is None else self._closed_since
            left_s = self._closed_since + self._patience_s - now
            if left_s <= 0 or closed.for_s > left_s:
                raise _given_up(closed)
        if now - self.since >= self._most_s:
            message = f"No turn at the model server came within {self._most_s:.0f} seconds."
            raise BatonError(Code.UPSTREAM_RATE_LIMITED, message)

    def worth_a_word(self, now: float, closed: Closed | None) -> bool:
        """Whether to tell people now; once."""
        long = now - self.since >= TOLD_AFTER_S or (closed is not None and closed.for_s >= 1)
        word, self._told = long and not self._told, self._told or long
        return word


def _given_up(closed: Closed) -> BatonError:
    code, words = words_of(closed.kind)
    when = f" and is not asked for {closed.for_s:.0f} seconds" if closed.for_s >= 1 else ""
    return BatonError(code, f"{words}{when}. Try again later.")


class Gates:
    """The gates of all providers."""

    def __init__(self, config: ModelsConfig) -> None:
        self._gates = {name: Gate(name, policy) for name, policy in config.providers.items()}

    def __getitem__(self, provider: str) -> Gate:
        return self._gates[provider]

    def report(self) -> dict[str, ProviderReport]:
        """What the next heartbeat says."""
        return {name: gate.report() for name, gate in self._gates.items()}

    def heard(self, news: Mapping[str, ProviderNews]) -> None:
        """What a heartbeat brought back."""
        for name, gate in self._gates.items():
            gate.heard(news.get(name))
