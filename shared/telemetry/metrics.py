"""Every metric of every process, in one table; docs/operations.md shows it, a test compares.

No metric has a label per user, thread or run.
"""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Every process
HTTP_SECONDS = Histogram(
    "baton_http_request_seconds",
    "Time to answer an HTTP request.",
    ["process", "method", "route", "status"],
    buckets=_SECONDS,
)

RULES_READ = Counter("baton_rules_read", "Changes of security.yaml, taken or refused.", ["outcome"])

# Gateway
SOCKETS = Gauge("baton_sockets", "Open WebSockets.")
SUBSCRIPTIONS = Gauge("baton_subscriptions", "Threads that open sockets listen to.")
SOCKETS_CLOSED = Counter("baton_sockets_closed", "Sockets that we closed, by code.", ["code"])
RELAY_LAG_SECONDS = Histogram(
    "baton_relay_lag_seconds",
    "Time of a PING through Redis and the messages before it.",
    buckets=_SECONDS,
)
RELAY_FILLS = Counter(
    "baton_relay_fills", "Gaps filled from the stream and SQL, by cause.", ["cause"]
)
RUNS_ACCEPTED = Counter("baton_runs_accepted", "Runs accepted.", ["agent"])

# toolsvc
QUEUE_DEPTH = Gauge("baton_queue_depth", "Runs that wait for a runner.")
QUEUE_AGE_SECONDS = Gauge("baton_queue_age_seconds", "Age of the oldest run that waits.")
LEASES = Gauge("baton_leases", "Runners with a living lease.")
RUNS_CARRIED = Gauge("baton_runs_carried", "Runs that runners carry.")
CLAIMS = Counter("baton_claims", "Claims, by what they found.", ["found"])
COMMITS = Counter("baton_commits", "Commits of steps and events, by result.", ["result"])
RUNGS = Counter("baton_runs_rung_again", "Runs rung for again, by cause.", ["cause"])
RUNS_ENDED = Counter("baton_runs_ended", "Runs ended, by outcome.", ["agent", "outcome"])
RETENTION_DELETED = Counter("baton_retention_deleted", "Rows deleted by retention.", ["table"])
DEATHS = Counter(
    "baton_carrier_deaths", "Runs whose carrier died: `shared` or `alone` in it.", ["where"]
)
RUNS_POISONED = Counter("baton_runs_poisoned", "Runs that killed all their carriers.", ["agent"])
TOOL_SECONDS = Histogram(
    "baton_tool_seconds", "Time of a tool call.", ["tool", "outcome"], buckets=_SECONDS
)
LIMITED = Counter("baton_limited", "Refusals of what would go over a limit.", ["limit"])

# Runner
RUNS_LIVE = Gauge("baton_runs_live", "Runs this runner carries now.")
AGENT_LOADS = Counter(
    "baton_agent_loads", "Saved agents taken or refused, and agents gone.", ["outcome"]
)
RULES_REFUSED = Counter(
    "baton_rules_refused", "What security.yaml has refused of agents' code, by rule.", ["rule"]
)
AGENT_CALLS = Counter(
    "baton_agent_calls", "Tool calls of agents, by how they went.", ["agent", "outcome"]
)
HAND_OFFS = Counter("baton_hand_offs", "Hand-offs between agents.", ["agent"])
HOOKS = Counter("baton_hooks", "Hooks of agents' authors that were called.", ["hook"])
GUARDRAILS = Counter(
    "baton_guardrails", "Verdicts of guardrails: passed, rejected or tripped.", ["agent", "verdict"]
)
MODEL_SECONDS = Histogram(
    "baton_model_seconds", "Time of a model call.", ["model", "outcome"], buckets=_SECONDS
)
MODEL_RETRIES = Counter(
    "baton_model_retries", "Model calls made once more, by cause.", ["provider", "cause"]
)
MODEL_WAITING = Gauge("baton_model_waiting", "Model calls that wait for their turn.", ["provider"])
MODEL_HELD = Gauge(
    "baton_model_held", "1 while a model server has asked to be left alone.", ["provider"]
)
MODEL_DOWN = Gauge("baton_model_down", "1 while a model server counts as down.", ["provider"])
FIRST_EVENT_SECONDS = Histogram(
    "baton_first_event_seconds", "Time from a claim to the model's first delta.", buckets=_SECONDS
)
BELLS = Counter(
    "baton_bells", "Entries read from the stream of waiting runs, by what they held.", ["held"]
)
APPEND_BATCH = Histogram("baton_append_batch", "Events in one append.", buckets=_SIZES)
APPENDS = Counter("baton_appends", "Appends to streams, by answer.", ["answer"])


def metrics_page() -> tuple[bytes, str]:
    """The page for Prometheus, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
