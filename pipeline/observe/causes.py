"""Everything that may be wrong with a worker or around it, by name: what it means, and what to do.

The names are what /readyz (`troubles`) and the log say; docs and alerts may rely on them.
"""

from __future__ import annotations

import msgspec


class Cause(msgspec.Struct, frozen=True):
    """One way in which things go wrong. `stops`: while it lasts, something that work needs is missing: not ready.
    `logged`: False where whoever notices it logs it, too.
    """

    name: str
    meaning: str
    do: str
    stops: bool = True
    logged: bool = True


REDIS_AWAY = Cause(
    "redis_away",
    "Nobody answers at Redis's address, or the connection breaks. Nothing is lost; the worker tries on.",
    "Start Redis, or check its address (`redis` in topology.yaml, PIPELINE_REDIS) and the network.",
)
REDIS_SILENT = Cause(
    "redis_silent",
    "Redis takes connections but gives no answer: it is stopped, hangs, or the network swallows what it says.",
    "Look at Redis's process and disk (a slow fsync, a long command, a frozen machine) and at the network; restart it"
    " if it hangs.",
)
REDIS_FULL = Cause(
    "redis_full",
    "Redis has reached `maxmemory` and takes no writes: no event can be counted, no decision made. Nothing is lost.",
    "Give it more memory (`CONFIG SET maxmemory`, and in its configuration); never change `noeviction`.",
)
REDIS_REFUSES = Cause(
    "redis_refuses",
    "Redis answers, but refuses writes: it is a replica now, can't write to its disk, loads its data, or wants another"
    " password.",
    "Read what it says: give the primary's address, free its disk, or set the password right.",
)
KAFKA_AWAY = Cause(
    "kafka_away",
    "Nobody listens at Kafka's address. Nothing is lost; the worker tries on.",
    "Start the brokers, or check their addresses (`kafka` in topology.yaml, PIPELINE_KAFKA) and the network.",
)
KAFKA_SILENT = Cause(
    "kafka_silent",
    "Kafka takes connections but gives no answer: brokers hang, have no leader yet, or the network swallows it.",
    "Look at the brokers' processes and logs, and at the network; restart those that hang.",
)
TOPICS_CHANGED = Cause(
    "topics_changed",
    "A topic of the deployment is gone from the broker, or has another number of partitions than before.",
    "Find out who changed it. `pipeline topics --check` names what differs; what it says there is what to do.",
)
REGISTRY_AWAY = Cause(
    "registry_away",
    "The schema registry doesn't answer. Events of known schemas go on; a partition with an unknown one waits.",
    "Start the registry, or check its address (`registry` in topology.yaml, PIPELINE_REGISTRY) and password.",
    stops=False,
)
CLAIMS_AGAIN = Cause(
    "partition_claims_again",
    "Something fails in a partition again and again: its position is read back each time, and it tries anew.",
    "Read the reason: mostly a server that is named here too. If no server is to blame, the record that stands at the"
    " partition's position is.",
)
STANDS = Cause(
    "partition_stands",
    "A partition has records and doesn't get on, or one batch of it takes very long.",
    "Look for another cause here first. The worker ends itself (exit code 2) if this lasts for a minute, and a new"
    " process tries.",
)
WAITS = Cause(
    "partition_waits",
    "A partition is held on purpose, for the reason given. The other partitions go on, but event time waits for it.",
    "Do what the reason says. To let event time go on without it, name it under `left_out` in topology.yaml.",
)
OPEN_TRANSACTION = Cause(
    "open_transaction",
    "A transaction that isn't ours lies open in a partition: nobody may read past it.",
    "Stop the producer that is named; what it says there aborts a transaction that outlives its producer.",
    logged=False,
)
TICKS_FAIL = Cause(
    "ticks_fail",
    "Event time isn't moved on in this worker: what is due isn't decided, and its numbers are old.",
    "Look for another cause here, a server mostly. If there is none, restart this worker.",
)
OVERDUE = Cause(
    "decisions_overdue",
    "What was due a while ago isn't decided, on whatever worker.",
    "See what holds event time (`held_by`); see that each partition has a worker that runs; see the other causes.",
    stops=False,
)
CLOCKS_DIFFER = Cause(
    "clocks_differ",
    "The clocks of Kafka, Redis and this machine are more than some seconds apart. Decisions go by Kafka's.",
    "Let all machines keep their clocks by NTP.",
    stops=False,
    logged=False,
)
RECORDING = Cause(
    "recording_holds_time",
    "A recording is being ingested: event time follows it, not the clock, until it is over.",
    "Wait for its `pipeline ingest`. If that is gone, a minute later event time follows the clock again; `pipeline"
    " ingest /dev/null --end open --take-over` ends it at once.",
    stops=False,
    logged=False,
)
HTTP_CROWDED = Cause(
    "http_crowded",
    "More connections come to this HTTP server than it lets in: the oldest are closed. The worker itself goes on.",
    "Find out who opens them, and keep them out (`http` in topology.yaml, a firewall).",
    stops=False,
)

CAUSES = (
    REDIS_AWAY,
    REDIS_SILENT,
    REDIS_FULL,
    REDIS_REFUSES,
    KAFKA_AWAY,
    KAFKA_SILENT,
    TOPICS_CHANGED,
    REGISTRY_AWAY,
    CLAIMS_AGAIN,
    STANDS,
    WAITS,
    OPEN_TRANSACTION,
    TICKS_FAIL,
    OVERDUE,
    CLOCKS_DIFFER,
    RECORDING,
    HTTP_CROWDED,
)
