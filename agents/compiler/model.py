"""What a compilation starts from, and the program it ends in.

Entered by `agents.stages` with a ResolvedProbe and a CompileRequest, left towards `agents.runtime`
(which creates the maps, loads and attaches the programs) and `agents.decoding` (which reads the records).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agents.binaries.model import Site
    from agents.compiler.layout import RecordLayout
    from language.expressions import Expression
    from language.model import At, LimitSpec


class Refusal(StrEnum):
    """Why an expression has no program. Stable words: they stand in `explain -o json`."""

    UNKNOWN_NAME = "unknown_name"  # no such argument or result
    UNKNOWN_FIELD = "unknown_field"
    NOT_HERE = "not_here"  # a result at entry, a latency without a return
    WRONG_TYPE = "wrong_type"  # len() of a number, a string compared with a number
    UNREADABLE = "unreadable"  # a predicate on a value that is not there: see agents.absence.Reason
    TOO_LARGE = "too_large"  # over the record's or the program's size
    UNSUPPORTED = "unsupported"


class CannotCompile(Exception):
    """These captures cannot be had from this function. `column` is "" for the predicate; `detail` is for a person."""

    def __init__(self, reason: Refusal, detail: str, column: str = "") -> None:
        super().__init__(f"{column}: {detail}" if column else detail)
        self.reason = reason
        self.detail = detail
        self.column = column


@dataclass(frozen=True)
class CaptureRequest:
    """One column. `expression` has its parameters bound already (no Param nodes).

    `dropped_paths` and `dropped_types` name parts of the value that policy says are never read ("Card.Cvv", "*.Card"):
    the program leaves their bytes out, whatever surrounds them.
    """

    column: str
    expression: Expression
    dropped_paths: tuple[str, ...] = ()
    dropped_types: tuple[str, ...] = ()


# Bytes of a string that are captured beyond its limit, for masking to look at and never to be shown: with them most entities
# that the limit cuts are seen whole. An e-mail address or an IBAN is shorter; a record has room for some hundreds of strings.
BEYOND: Final = 64


@dataclass(frozen=True)
class CompileRequest:
    """What to capture. A column whose masking rule is `drop` is not here: it is never read."""

    at: At
    where: Expression | None
    captures: tuple[CaptureRequest, ...]
    limits: LimitSpec
    beyond: int = BEYOND


class MapName(StrEnum):
    """The maps a program may use; the runtime creates those that `BpfProgram.maps` lists."""

    RING = "ring"  # ring buffer of records, one size
    CONTROL = "control"  # array of one value, see ControlField, mapped into the agent
    COUNTERS = "counters"  # per-CPU array: key = Counter, value = u64
    PROCESSES = "processes"  # hash: u32 tgid -> u64 load bias; a tgid that is not here is ignored, before anything else
    STASH = "stash"  # hash: what an entry keeps for its return
    TEMPLATE = "template"  # array of one zeroed stash value: what a new stash entry starts from


class MapKind(IntEnum):
    """`enum bpf_map_type` of the kernel's uapi/linux/bpf.h."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    RINGBUF = 27


@dataclass(frozen=True)
class MapSpec:
    name: MapName
    kind: MapKind
    key_size: int  # bytes; 0 for a ring
    value_size: int  # bytes; 0 for a ring
    max_entries: int  # a ring: its size in bytes, a power of two and a multiple of the page


class Counter(IntEnum):
    """Index into COUNTERS. HITS is the sum of all the others but UNPAIRED_RETURN and what is still in STASH."""

    HITS = 0
    DELIVERED = 1
    FILTERED = 2
    SAMPLED_OUT = 3
    THROTTLED = 4
    EXPIRED = 5  # past the deadline, over max_hits, or switched off
    LOST_RING_FULL = 6
    LOST_STASH_FULL = 7  # too many calls in flight at once
    LOST_NO_RETURN = 8  # entered again at the same frame: the earlier call never returned (panic, longjmp, exception)
    UNPAIRED_RETURN = 9  # a return whose entry was not seen (called before the probe was armed): not a hit


class ControlField(IntEnum):
    """Byte offsets in the one value of CONTROL, u64 each, little-endian. The agent writes all but TAKEN and ARRIVAL."""

    ENABLED = 0  # 0: switched off, nothing is captured
    DEADLINE = 8  # bpf_ktime_get_boot_ns() after which nothing is captured; 0 means already past
    MAX_HITS = 16  # records at most
    INTERVAL = 24  # ns between two events of the rate limit (generic cell rate algorithm); 0: no limit
    BURST = 32  # ns of credit of the rate limit
    TAKEN = 40  # records taken so far, counted by the program
    ARRIVAL = 48  # theoretical arrival time of the rate limit, kept by the program


CONTROL_SIZE: Final = 64  # a cache line


class Role(StrEnum):
    ENTRY = "entry"
    RETURN = "return"


@dataclass(frozen=True)
class MapReference:
    """The LD_IMM64 at `instruction` (index of 8-byte slots) wants the file descriptor of this map."""

    instruction: int
    map: MapName


@dataclass(frozen=True)
class Program:
    """One BPF program (type KPROBE) and where it goes.

    `instructions` is its text, 8 bytes a slot, x86-64 little-endian as RFC 9669 encodes it, map descriptors zero.
    """

    role: Role
    instructions: bytes
    maps: tuple[MapReference, ...]
    sites: tuple[Site, ...]
    on_return: bool  # attach as a uretprobe at `sites`; False: a plain uprobe at each


@dataclass(frozen=True)
class BpfProgram:
    """Everything the runtime needs to arm one probe, and the layout its records have.

    Proves: captures fit the types and locations of the ResolvedProbe; every read is bounded. Does not prove that the
    kernel's verifier agrees. `sleepable` programs read user memory with bpf_copy_from_user (a page that is not resident
    is faulted in), others with bpf_probe_read_user. Minted by `agents.compiler.service` only.
    """

    programs: tuple[Program, ...]  # at most one of each role; attach RETURN first, ENTRY last
    maps: tuple[MapSpec, ...]
    layout: RecordLayout
    sleepable: bool
