"""The record of runs: what runners and toolsvc say to each other about claims and commits.

Lists of events travel as rows (`[seq, seqTo, type, data]`), for they are most of the traffic;
`data` is the event's JSON text and is parsed by nobody on the way.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.protocol.providers import ProviderName, ProviderNews, ProviderReport

#: How long a run token lives. In its second half it is renewed, by a heartbeat that brings it.
RUN_TOKEN_LIFE_S: Final = 300
#: Characters of a snapshot; where one would be longer there is none.
SNAPSHOT_LIMIT: Final = 524_288
#: The header by which a runner is known under its id: a secret of its own making.
RUNNER_PROOF: Final = "baton-runner-proof"
#: How the ids of processes begin that carry one run alone.
LONE_PREFIX: Final = "lone-"
#: One that takes longer to import itself counts as dead; meanwhile nobody else starts another.
LONE_STARTS_WITHIN_S: Final = 60
#: How much of a dead process's output is kept.
WORDS_LINES: Final = 40
WORDS_BYTES: Final = 8192


class Outcome(StrEnum):
    """How a run ended; the values are those of the column `runs.status`."""

    FINISHED = "finished"  #: a final output exists
    INTERRUPTED = "interrupted"  #: a person has to decide something
    CANCELLED = "cancelled"  #: somebody asked for it to stop
    FAILED = "failed"  #: an error that it could not recover from


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Row(NamedTuple):
    """An event under the writer's own fence, or adjacent deltas joined (`seq` to `seq_to`)."""

    seq: int
    seq_to: int
    type: str
    data: str


class ForeignRow(NamedTuple):
    """An event of an older fence: a start row, or one of the tail."""

    fence: int
    seq: int
    type: str
    data: str


class StepRecord(_Message):
    """A finished model response or tool call; `record` is the journal's own JSON text."""

    scope: str
    kind: str
    place: str
    digest: str
    record: str


class SpanRecord(_Message):
    """A span as the SDK made it; an unfinished one is sent again when it ends."""

    id: str
    parent: str | None = None
    started: str
    ended: str | None = None
    data: dict[str, Any]
    error: dict[str, Any] | None = None


def _with_id_and_role(message: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(message.get(field), str) for field in ("id", "role")):
        raise ValueError("a message needs an id and a role")
    return message


class InterruptReason(StrEnum):
    """Why a run is interrupted."""

    APPROVAL = "tool_call"  #: a person has to let a call through; AG-UI's examples call it so
    CLIENT_TOOL = "client_tool"  #: the client has the tool, and tells its result


class Asked(_Message):
    """What a person has to decide before a call is carried out."""

    id: str = Field(max_length=64)
    reason: str
    #: Where in the run the call was made, and its place in the journal there.
    scope: str
    call_id: str
    agent: str
    tool: str
    #: As the model wrote them, for people; what is decided counts for the digest.
    arguments: str
    digest: str


class Decision(_Message):
    """What a person has decided about a call; it counts for these arguments alone."""

    scope: str
    call_id: str
    digest: str
    approved: bool
    #: What the model is told of a refusal; of a client's own tool, the result.
    message: str | None = None


class End(_Message):
    """How a run ended, and what it leaves in the conversation."""

    outcome: Outcome
    error_code: str | None = None
    error_message: str | None = None
    usage: list[dict[str, Any]] = []
    messages: list[Annotated[dict[str, Any], AfterValidator(_with_id_and_role)]] = []
    #: Ids of messages that a run resumed by this one left half-written: they go.
    withdrawn: list[str] = []
    #: Of an interrupted run.
    asked: list[Asked] = []


class Commit(_Message):
    """Everything since the last commit, in one transaction; `n` counts 1, 2, 3 … per fence.

    The first commit of a take-over brings the tail; with it the fence settles.
    """

    fence: int = Field(ge=1)
    n: int = Field(ge=1)
    tail: list[ForeignRow] | None = None
    rows: list[Row] = []
    steps: list[StepRecord] = []
    spans: list[SpanRecord] = []
    #: Where the run stood before the first of the steps: a cache of the runners' own, in base64.
    snapshot: str | None = Field(default=None, max_length=SNAPSHOT_LIMIT)
    end: End | None = None
    #: The last one of this claim, for the run is given away: whoever is free may take it at once.
    leaves: bool = False


class CatalogueAnswer(_Message):
    """Digests of the code that runs under way began with."""

    in_use: list[str] = []


class CommitAnswer(_Message):
    """What the runner has to know besides that its commit stands."""

    cancelled: bool = False


class ClaimRequest(_Message):
    """A runner with a free slot asks for work; `hint` is the run of the entry that woke it."""

    runner: str = Field(min_length=1, max_length=128)
    slots: int = Field(ge=1)
    hint: UUID | None = None
    #: The id of a process that this runner can start for a run that is suspect.
    lone: str | None = Field(None, min_length=1, max_length=128)
    #: The runner is such a process, and asks for the run that it was started for.
    alone: bool = False


class Continued(_Message):
    """What earlier runs of the same root have left behind, besides the journal."""

    #: The public id of the run that is resumed.
    run: str
    #: So many steps of the journal, the first ones, are theirs.
    steps: int
    #: The conversation as clients have it, and the ids of the messages in it that are theirs.
    path: list[dict[str, Any]]
    messages: list[str]


class ClaimedRun(_Message):
    """All that is needed to carry a run from where it stands."""

    run: UUID
    root: UUID
    thread: UUID
    user: UUID
    project: UUID | None = None
    run_id: str
    thread_id: str
    agent: str
    #: Of the code that the run began with.
    agent_digest: str | None = None
    fence: int
    #: Every start row of this run, the newest under `fence`; RUN_STARTED is the first.
    starts: list[ForeignRow]
    #: The last id that SQL held of settled fences; the tail begins after it.
    sql_last: tuple[int, int]
    #: Messages on the path before the root run, and what the person said in that.
    history: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    #: In a run that resumes another one.
    continued: Continued | None = None
    #: What the client sent besides messages.
    input: dict[str, Any]
    journal: list[StepRecord] = []
    #: What people have decided about calls of the root run and its resumes.
    decisions: list[Decision] = []
    #: The newest snapshot of the root run, as a runner made it.
    snapshot: str | None = None
    #: Events of this run in SQL that open or close something, as JSON texts.
    brackets: list[str] = []
    #: Spans that were open when the one before stopped; SQL has them as ended.
    cut_off: list[SpanRecord] = []
    cancelled: bool = False
    token: str
    token_expires: int

    @property
    def first(self) -> bool:
        """Whether nobody carried this run before."""
        return len(self.starts) == 1


class ClaimAnswer(_Message):
    """A run, or nothing to do; and perhaps one to start the process `lone` of the request for."""

    claimed: ClaimedRun | None = None
    suspect: UUID | None = None
    #: Its public ids, for whoever reads the log.
    suspect_run_id: str | None = None
    suspect_thread_id: str | None = None

    @property
    def suspect_names(self) -> dict[str, str]:
        """What log lines about the suspect run carry; a toolsvc of before does not name it."""
        names = {"run": self.suspect_run_id, "thread": self.suspect_thread_id}
        return {kind: name for kind, name in names.items() if name}


class Death(_Message):
    """How the process `lone` ended, which was started for a suspect run."""

    lone: str = Field(min_length=1, max_length=128)
    #: An exit status, or the name of a signal.
    status: str = Field(max_length=64)
    #: Its last lines of output.
    lines: list[Annotated[str, Field(max_length=WORDS_BYTES)]] = Field([], max_length=WORDS_LINES)
    #: Whether it was asked to end, and so did not die of the run unless it still carried it.
    told_to_end: bool = False


class Carried(NamedTuple):
    """A run that a heartbeat names: which claim, and until when its token holds (epoch s)."""

    run: UUID
    fence: int
    token_expires: int


class Heartbeat(_Message):
    """A runner renews its lease, for all its runs at once."""

    runs: list[Carried] = []
    #: The tokens that are to be renewed: a claim is carried on by whoever has its token.
    tokens: dict[UUID, str] = {}
    #: Model servers by name.
    providers: dict[ProviderName, ProviderReport] = Field({}, max_length=100)
    slots: int = 0
    version: str = ""


class HeartbeatAnswer(_Message):
    """News about the runs named: lost to another claim, asked to stop, tokens renewed."""

    lease_s: float
    fenced: list[UUID] = []
    cancelled: list[UUID] = []
    tokens: dict[UUID, tuple[str, int]] = {}
    #: Of the model servers named; one that is missing stays as it was.
    providers: dict[str, ProviderNews] = {}


class Catalogue(_Message):
    """What a runner serves (name → description), and what it could not load (name → reason)."""

    agents: dict[str, dict[str, Any]]
    broken: dict[str, str] = {}
    version: str = ""
    slots: int = 0
    #: Digests of former code that is kept; and whether runs whose code is gone are left alone.
    former: list[str] = []
    same_code: bool = False
