"""What Redis can answer instead of storing a verdict, and what the worker then does: one table, which the code follows.

No verdict is dropped, whatever the answer. It waits, its frame is reported as judged, and the log says once why.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    """What is done about a fault. Whatever it is, the verdict is tried again; the policies differ in the rest."""

    WAIT = "wait"  # it passes by itself
    CALL = "call"  # a person has to do something: said as an error
    FOLLOW = "follow"  # another node of the cluster has the line: the next try goes there
    ASIDE = "aside"  # this verdict alone can't be written: it waits beside the queue and the others go on


@dataclass(frozen=True)
class Fault:
    """One thing that Redis, or the way to it, can answer.

    Attributes:
        name: stable, for logs and alarms.
        pattern: found in what was said; `tests/worker/test_faults.py` has an example of each.
        policy: what is done.
        means: one sentence for the person who reads the log.
        remedy: what that person can do.
    """

    name: str
    pattern: str
    policy: Policy
    means: str
    remedy: str


# The first that fits counts. Before Redis 7 an error inside a script comes as "@user_script: 44: -OOM ...".
FAULTS = (
    Fault(
        "seen_key",
        r"\bseen: .*\bWRONGTYPE\b",
        Policy.ASIDE,
        "the key that remembers which frames of this session have a verdict is not a bitmap",
        "something else writes to the line's keys: find it, then delete that {line}:seen:... key",
    ),
    Fault(
        "results_key",
        r"\bresults: .*\bWRONGTYPE\b",
        Policy.CALL,
        "the key {line}:results is not a stream",
        "something else writes to the line's keys: find it, then rename or delete {line}:results",
    ),
    Fault(
        "wrong_type",
        r"\bWRONGTYPE\b",
        Policy.CALL,
        "a key of the line is not of the type that it should be",
        "something else writes to the line's keys: find it, then delete what it wrote",
    ),
    Fault(
        "ids_used_up",
        r"exhausted the last possible ID|equal or smaller than the target stream top item",
        Policy.CALL,
        "somebody wrote an entry with the highest id there is, so nothing can follow it in {line}:results",
        "rename {line}:results; readers start again from the new stream's beginning",
    ),
    Fault(
        "too_large",
        r"too large to be stored|exceeds maximum allowed size",
        Policy.ASIDE,
        "this verdict is larger than Redis takes",
        "raise stream-node-max-bytes and proto-max-bulk-len to their defaults or above",
    ),
    Fault(
        "permission",
        r"\bNOPERM\b|ACL failure in script|user executing the script can't",
        Policy.CALL,
        "the user in the Redis URL may not do what a worker must",
        "give it the rights of sightline-worker in deploy/redis-users.acl",
    ),
    Fault(
        "login",
        r"(?i)\b(NOAUTH|WRONGPASS)\b|invalid password|AUTH.* called without any password",
        Policy.CALL,
        "Redis does not accept the user or the password in the URL",
        "correct the URL (setting redis), or the user in Redis",
    ),
    Fault(
        "tls",
        r"\btls: ",
        Policy.CALL,
        "no TLS: the certificate is not trusted, has expired or is another host's, or the server speaks none",
        "check rediss:// and ssl_ca_certs in the URL, and the server's certificate",
    ),
    Fault(
        "clients",
        r"max number of clients",
        Policy.CALL,
        "Redis has as many clients as it takes",
        "raise maxclients, or end what holds the connections (CLIENT LIST)",
    ),
    Fault(
        "memory",
        r"\bOOM\b",
        Policy.CALL,
        "Redis has reached maxmemory and may evict nothing",
        "raise maxmemory, or keep less: keep_results_s, max_results",
    ),
    Fault(
        "disk",
        r"\bMISCONF\b",
        Policy.CALL,
        "Redis can't save to its disk, and so takes no writes: most often the disk is full",
        "free the disk that Redis saves to; its log names the error",
    ),
    Fault(
        "readonly",
        r"\bREADONLY\b",
        Policy.WAIT,
        "this Redis is a replica: a failover has happened or is under way",
        "if it lasts, point the URL at the primary",
    ),
    Fault(
        "master_down",
        r"\bMASTERDOWN\b",
        Policy.WAIT,
        "this Redis is a replica that has lost its primary",
        "if it lasts, start the primary, or promote a replica",
    ),
    Fault(
        "replicas",
        r"\bNOREPLICAS\b",
        Policy.WAIT,
        "Redis has fewer good replicas than min-replicas-to-write asks for",
        "if it lasts, start the replicas or lower min-replicas-to-write",
    ),
    Fault(
        "unreplicated",
        r"\bunreplicated: ",
        Policy.WAIT,
        'no replica has the verdicts yet, and durability = "replica" asks for one',
        "if it lasts, start a replica, or accept durability = memory",
    ),
    Fault(
        "loading",
        r"\bLOADING\b",
        Policy.WAIT,
        "Redis reads its data from disk",
        "wait: it says in its log how far it is",
    ),
    Fault(
        "busy",
        r"\bBUSY\b",
        Policy.WAIT,
        "a script of somebody else has held Redis for seconds",
        "if it lasts, SCRIPT KILL, and take that script away from the line's Redis",
    ),
    Fault("script_gone", r"\bNOSCRIPT\b", Policy.WAIT, "Redis forgot the script: it is loaded again", "nothing"),
    Fault("moved", r"\bMOVED\b", Policy.FOLLOW, "another node of the cluster has the line", "nothing"),
    Fault(
        "resharding",
        r"\b(ASK|TRYAGAIN)\b",
        Policy.WAIT,
        "the line's slot is on its way to another node of the cluster",
        "if it lasts, finish the migration (redis-cli --cluster fix)",
    ),
    Fault(
        "cluster_down",
        r"\bCLUSTERDOWN\b",
        Policy.WAIT,
        "the cluster has no node for the line's slot, or no majority",
        "if it lasts, redis-cli --cluster check, then fix",
    ),
    Fault(
        "timeout",
        r"\btimeout: ",
        Policy.WAIT,
        "Redis does not answer in time: overloaded, paused, or the network swallows packets",
        "if it lasts, look at the load of its machine, and at SLOWLOG and CLIENT PAUSE",
    ),
    Fault(
        "unreachable",
        r"\bunreachable: ",
        Policy.WAIT,
        "nothing takes the connection: Redis is down or restarting, or the address is wrong",
        "if it lasts, start Redis, or correct the URL; a server that speaks TLS alone wants rediss://",
    ),
)

# Nobody foresaw this answer. It must not stop the line, so it counts as the verdict's own once it comes to one alone.
UNKNOWN = Fault(
    "unknown",
    "",
    Policy.ASIDE,
    "an answer that Sightline does not know",
    "the text says what it was; please report it",
)


def fault_of(said: str) -> Fault:
    """The fault that a text names: an error of Redis with its code, or of the way to it, as in `timeout: ...`."""
    return next((fault for fault in FAULTS if re.search(fault.pattern, said)), UNKNOWN)
