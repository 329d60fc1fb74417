"""A Plan -> the text of its one or two programs.

Every program: is this process meant? (else out, uncounted) -> HITS -> switch, deadline -> predicate -> sample -> rate
-> number -> a place for the record -> reads -> hand over. Each way out counts exactly one outcome. Of a pair, the entry
writes into the stash instead of the ring, and the return only has the results to add; a hit that the entry refuses
takes away what an earlier call left under the same frame, so that no return finds another call's entry.

`service` puts the texts into a BpfProgram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.binaries.model import GoRuntime, Register, ResolvedProbe, ReturnMethod, Site
from agents.compiler import emit_limits, emit_reads, frame
from agents.compiler.asm import Helper, Label, Reg, Text, TextTooLong
from agents.compiler.emit_memory import Writer
from agents.compiler.emit_predicate import KEPT_SIZE, Outcome, PredicateWriter
from agents.compiler.frame import CONTEXT, NOW, PT_REGS, RECORD
from agents.compiler.layout import Status
from agents.compiler.model import CannotCompile, CompileRequest, Counter, MapName, Refusal, Role
from agents.compiler.plan import GOID, GOID_STATUS, THREAD, TIME, Part, Plan
from agents.compiler.predicate import All, Always, AnyOf, Compared, Inverted, IsNil, Kept, Test, TextIs, TextsEqual

BPF_NOEXIST: Final = 1
BPF_RB_NO_WAKEUP: Final = 1  # the agent looks into the ring by itself; waking it costs the target more than the record
MAX_TEXT: Final = 30_000  # slots: below what a jump reaches, far below the verifier's million
COPY_BY_WORDS: Final = 128  # bytes: up to here loads and stores are quicker than a call of the copy routine


@dataclass(frozen=True)
class Emitted:
    role: Role
    text: Text
    sites: tuple[Site, ...]
    on_return: bool


def emit(resolved: ResolvedProbe, request: CompileRequest, plan: Plan, *, sleepable: bool) -> tuple[Emitted, ...]:
    """RETURN first. Raises CannotCompile when a program would be too large."""
    programs = []
    if plan.role is Role.RETURN:
        by_address = resolved.return_method is ReturnMethod.RET_SITES
        sites = resolved.returns if by_address else (resolved.entry,)
        if not sites:
            raise CannotCompile(Refusal.UNSUPPORTED, f"{resolved.function} never returns: it has no place to probe at")
        writer = _Program(resolved, request, plan, sleepable=sleepable)
        text = writer.paired_return(_cfa(sites, by_address)) if plan.paired else writer.alone(plan.returned)
        programs.append(Emitted(Role.RETURN, text, sites, on_return=not by_address))
    if plan.role is Role.ENTRY or plan.paired:
        writer = _Program(resolved, request, plan, sleepable=sleepable)
        sites = (resolved.entry,)
        text = writer.paired_entry(_cfa(sites, by_address=True)) if plan.paired else writer.alone(plan.entry)
        programs.append(Emitted(Role.ENTRY, text, sites, on_return=False))
    return tuple(programs)


def _cfa(sites: tuple[Site, ...], by_address: bool) -> tuple[Register, int]:
    """Where the canonical frame address is at these sites. After a uretprobe it is the stack pointer itself."""
    if not by_address:
        return (Register.RSP if sites[0].cfa_register is not Register.SP else Register.SP), 0
    rules = {(site.cfa_register, site.cfa_displacement) for site in sites}
    if len(rules) != 1:
        raise CannotCompile(Refusal.UNSUPPORTED, "the function's return sites find their frame in different ways")
    return rules.pop()


class _Program:
    """Writes one program."""

    def __init__(self, resolved: ResolvedProbe, request: CompileRequest, plan: Plan, *, sleepable: bool) -> None:
        self._go = resolved.go
        self._request = request
        self._plan = plan
        self._w = Writer(sleepable=sleepable)
        self._asm = self._w.asm
        self._predicate = PredicateWriter(self._w, resolved.go, plan.kept_offset)
        self._refusals: dict[Counter, Label] = {}
        self._out = self._asm.fresh("out")

    # --- the three programs -------------------------------------------------------------------------------------

    def alone(self, parts: tuple[Part, ...]) -> Text:
        """An entry or a return by itself."""
        asm = self._asm
        self._begin()
        self._w.count(Counter.HITS)
        emit_limits.switch_and_deadline(self._w, self._refusal(Counter.EXPIRED))
        test = self._plan.test.entry if self._plan.role is Role.ENTRY else self._plan.test.returned
        self._accept(test)
        self._reserve()
        self._header()
        if self._go is not None:
            self._goid(self._go)
        self._parts(parts)
        self._submit()
        self._end()
        for counter, label in self._refusals.items():
            asm.mark(label)
            self._w.count(counter)
            asm.jump(self._out)
        return self._assembled(parts)

    def paired_entry(self, cfa: tuple[Register, int]) -> Text:
        asm = self._asm
        refuse = asm.fresh("refuse")
        unpairable = asm.fresh("unpairable")
        self._begin()
        self._w.count(Counter.HITS)
        self._stash_key(cfa, unpairable, goid=True)
        emit_limits.switch_and_deadline(self._w, self._refusal(Counter.EXPIRED))
        self._accept(self._plan.test.entry)
        self._stash()
        self._header()
        if self._go is not None:
            asm.load(Reg.R1, Reg.R10, frame.GOID)
            asm.store(RECORD, GOID, Reg.R1)
            asm.store(RECORD, GOID_STATUS, Status.OK)
        self._keep()
        self._parts(self._plan.entry)
        self._end()
        for counter, label in self._refusals.items():
            asm.mark(label)
            asm.store(Reg.R10, frame.OUTCOME, counter)
            asm.jump(refuse)
        asm.mark(refuse)
        self._forget()
        asm.jump_if(Reg.R0, "!=", 0, nothing_left := asm.fresh("nothing_left"))
        self._w.count(Counter.LOST_NO_RETURN)
        asm.mark(nothing_left)
        asm.load(Reg.R1, Reg.R10, frame.OUTCOME)
        asm.store(Reg.R10, frame.KEY, Reg.R1, 4)
        self._w.count_key()
        asm.jump(self._out)
        asm.mark(unpairable)
        self._w.count(Counter.LOST_NO_RETURN)
        asm.jump(self._out)
        return self._assembled(self._plan.entry)

    def paired_return(self, cfa: tuple[Register, int]) -> Text:
        asm = self._asm
        unpaired = asm.fresh("unpaired")
        self._begin()
        self._stash_key(cfa, unpaired, goid=False)
        self._w.lookup(MapName.STASH, frame.STASH_KEY)
        asm.jump_if(Reg.R0, "==", 0, unpaired)
        asm.mov(RECORD, Reg.R0)
        emit_limits.switch_and_deadline(self._w, self._refusal(Counter.EXPIRED))
        asm.store(Reg.R10, frame.TIME_NOW, NOW)
        self._decide(self._plan.test.returned)
        asm.mov(Reg.R8, RECORD)
        self._reserve()
        self._copy_stash()
        self._parts(self._plan.returned)
        self._forget()
        self._submit()
        self._end()
        for counter, label in self._refusals.items():
            asm.mark(label)
            asm.store(Reg.R10, frame.OUTCOME, counter)
            self._forget()
            asm.load(Reg.R1, Reg.R10, frame.OUTCOME)
            asm.store(Reg.R10, frame.KEY, Reg.R1, 4)
            self._w.count_key()
            asm.jump(self._out)
        asm.mark(unpaired)
        self._w.count(Counter.UNPAIRED_RETURN)
        asm.jump(self._out)
        return self._assembled(self._plan.returned)

    # --- beginning and end --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The process filter, before anything else: a probe fires in every process of the file."""
        asm = self._asm
        asm.mov(CONTEXT, Reg.R1)
        asm.call(Helper.GET_CURRENT_PID_TGID)
        asm.store(Reg.R10, frame.PID_TGID, Reg.R0)
        asm.alu(Reg.R0, ">>=", 32)
        asm.store(Reg.R10, frame.KEY, Reg.R0, 4)
        self._w.lookup(MapName.PROCESSES)
        asm.jump_if(Reg.R0, "==", 0, self._out)
        asm.load(Reg.R1, Reg.R0, 0)
        asm.store(Reg.R10, frame.BIAS, Reg.R1)

    def _end(self) -> None:
        self._asm.mark(self._out)
        self._asm.mov(Reg.R0, 0)
        self._asm.exit()

    def _refusal(self, counter: Counter) -> Label:
        if counter not in self._refusals:
            self._refusals[counter] = self._asm.fresh(counter.name.lower())
        return self._refusals[counter]

    def _assembled(self, parts: tuple[Part, ...]) -> Text:
        try:
            text = self._asm.assemble()
        except TextTooLong:
            text = None
        if text is None or len(text.instructions) > 8 * MAX_TEXT:
            column, slots = self._largest(parts)
            raise CannotCompile(
                Refusal.TOO_LARGE,
                f"the program has {self._asm.slots} instructions, {MAX_TEXT} are allowed; {slots} of them read this "
                f"column: capture a field of it, fewer items (x[:n]), or lower limits.maxDepth or maxItems",
                column,
            )
        return text

    def _largest(self, parts: tuple[Part, ...]) -> tuple[str, int]:
        sizes = {}
        for part in parts:
            alone = Writer(sleepable=self._w.sleepable)
            emit_reads.emit(alone, part.body)
            sizes[part.column] = alone.asm.slots
        return max(sizes.items(), key=lambda each: each[1])

    # --- deciding -----------------------------------------------------------------------------------------------

    def _decide(self, test: Test) -> None:
        if _is_nothing(test):
            return
        filtered, accepted = self._refusal(Counter.FILTERED), self._asm.fresh("accepted")
        self._predicate.test(test, Outcome(accepted, filtered, filtered))
        self._asm.mark(accepted)

    def _accept(self, test: Test) -> None:
        self._decide(test)
        emit_limits.sample(self._w, self._request.limits.sample, self._refusal(Counter.SAMPLED_OUT))
        emit_limits.rate(self._w, self._refusal(Counter.THROTTLED))
        emit_limits.number(self._w, self._refusal(Counter.EXPIRED))

    # --- the record ---------------------------------------------------------------------------------------------

    def _reserve(self) -> None:
        asm = self._asm
        asm.load_map(Reg.R1, MapName.RING)
        asm.mov(Reg.R2, self._plan.layout.record_size)
        asm.mov(Reg.R3, 0)
        asm.call(Helper.RINGBUF_RESERVE)
        asm.jump_if(Reg.R0, "==", 0, self._refusal(Counter.LOST_RING_FULL))
        asm.mov(RECORD, Reg.R0)

    def _submit(self) -> None:
        asm = self._asm
        asm.mov(Reg.R1, RECORD)
        asm.mov(Reg.R2, BPF_RB_NO_WAKEUP)
        asm.call(Helper.RINGBUF_SUBMIT)
        self._w.count(Counter.DELIVERED)

    def _header(self) -> None:
        asm = self._asm
        asm.store(RECORD, TIME, NOW)
        asm.load(Reg.R1, Reg.R10, frame.PID_TGID)
        asm.store(RECORD, THREAD, Reg.R1)

    def _goid(self, go: GoRuntime) -> None:
        asm = self._asm
        done = asm.fresh("goid")
        asm.store(RECORD, GOID_STATUS, Status.FAULT)

        def prepare() -> None:
            asm.load(Reg.R3, CONTEXT, PT_REGS[go.register])
            asm.alu(Reg.R3, "+=", go.goid_offset)
            asm.mov(Reg.R1, RECORD)
            asm.alu(Reg.R1, "+=", GOID)
            asm.mov(Reg.R2, 8)

        self._w.read_resident(prepare)
        asm.jump_if(Reg.R0, "!=", 0, done)
        asm.store(RECORD, GOID_STATUS, Status.OK)
        asm.mark(done)

    def _parts(self, parts: tuple[Part, ...]) -> None:
        for part in parts:
            emit_reads.emit(self._w, part.body)

    # --- the stash ----------------------------------------------------------------------------------------------

    def _stash_key(self, cfa: tuple[Register, int], failed: Label, *, goid: bool) -> None:
        """Go: a goroutine changes threads and its stack moves, but not how far below the stack's end a frame is."""
        asm = self._asm
        asm.load(Reg.R1, CONTEXT, PT_REGS[cfa[0]])
        if cfa[1]:
            asm.alu(Reg.R1, "+=", cfa[1])
        if self._go is None:
            asm.load(Reg.R2, Reg.R10, frame.PID_TGID)
            asm.store(Reg.R10, frame.STASH_KEY, Reg.R2)
            asm.store(Reg.R10, frame.STASH_KEY + 8, Reg.R1)
            asm.store(Reg.R10, frame.STASH_KEY + 16, 0)
            return
        asm.store(Reg.R10, frame.STASH_KEY + 16, Reg.R1)
        wanted = (self._go.stack_hi_offset, *((self._go.goid_offset,) if goid else ()))
        first, size = min(wanted), max(wanted) + 8 - min(wanted)
        if size > frame.SCRATCH_SIZE:
            raise CannotCompile(Refusal.UNSUPPORTED, f"{self._go.version}: goid is {size} bytes away from the stack")
        asm.load(Reg.R3, CONTEXT, PT_REGS[self._go.register])
        asm.store(Reg.R10, frame.STASH_KEY + 8, Reg.R3)

        def prepare() -> None:
            asm.load(Reg.R3, Reg.R10, frame.STASH_KEY + 8)
            asm.alu(Reg.R3, "+=", first)
            asm.mov(Reg.R1, Reg.R10)
            asm.alu(Reg.R1, "+=", frame.SCRATCH)
            asm.mov(Reg.R2, size)

        self._w.read_resident(prepare)
        asm.jump_if(Reg.R0, "!=", 0, failed)
        asm.load(Reg.R1, Reg.R10, frame.SCRATCH + self._go.stack_hi_offset - first)
        asm.load(Reg.R2, Reg.R10, frame.STASH_KEY + 16)
        asm.alu(Reg.R1, "-=", Reg.R2)
        asm.store(Reg.R10, frame.STASH_KEY + 16, Reg.R1)
        asm.load(Reg.R1, Reg.R10, frame.PID_TGID)
        asm.alu(Reg.R1, ">>=", 32)
        asm.store(Reg.R10, frame.STASH_KEY, Reg.R1)
        if goid:
            asm.load(Reg.R1, Reg.R10, frame.SCRATCH + self._go.goid_offset - first)
            asm.store(Reg.R10, frame.GOID, Reg.R1)

    def _stash(self) -> None:
        """R7 becomes a fresh stash value. An earlier call that never returned from this frame is counted as lost."""
        asm = self._asm
        fresh, full = asm.fresh("stashed"), self._refusal(Counter.LOST_STASH_FULL)
        self._stash_update(full)
        asm.jump_if(Reg.R0, "==", 0, fresh)
        self._forget()
        asm.jump_if(Reg.R0, "!=", 0, full)
        self._w.count(Counter.LOST_NO_RETURN)
        self._stash_update(full)
        asm.jump_if(Reg.R0, "!=", 0, full)
        asm.mark(fresh)
        self._w.lookup(MapName.STASH, frame.STASH_KEY)
        asm.jump_if(Reg.R0, "==", 0, full)
        asm.mov(RECORD, Reg.R0)

    def _stash_update(self, full: Label) -> None:
        asm = self._asm
        self._w.lookup_index(MapName.TEMPLATE, 0)
        asm.jump_if(Reg.R0, "==", 0, full)
        asm.mov(Reg.R3, Reg.R0)
        asm.load_map(Reg.R1, MapName.STASH)
        asm.mov(Reg.R2, Reg.R10)
        asm.alu(Reg.R2, "+=", frame.STASH_KEY)
        asm.mov(Reg.R4, BPF_NOEXIST)
        asm.call(Helper.MAP_UPDATE_ELEM)

    def _forget(self) -> None:
        """R0 becomes 0 when there was something to forget."""
        asm = self._asm
        asm.load_map(Reg.R1, MapName.STASH)
        asm.mov(Reg.R2, Reg.R10)
        asm.alu(Reg.R2, "+=", frame.STASH_KEY)
        asm.call(Helper.MAP_DELETE_ELEM)

    def _copy_stash(self) -> None:
        """From the stash value at R8 to the record at R7."""
        asm = self._asm
        size = self._plan.layout.stash_size
        if size <= COPY_BY_WORDS:
            for offset in range(0, size, 8):
                asm.load(Reg.R1, Reg.R8, offset)
                asm.store(RECORD, offset, Reg.R1)
            return
        asm.mov(Reg.R1, RECORD)
        asm.mov(Reg.R2, size)
        asm.mov(Reg.R3, Reg.R8)
        asm.call(Helper.PROBE_READ_KERNEL)

    def _keep(self) -> None:
        """Work out what the return's test needs of the entry."""
        asm = self._asm
        for index, what in enumerate(self._plan.test.kept):
            offset = self._plan.kept_offset + KEPT_SIZE * index
            done, unreadable = asm.fresh("kept"), asm.fresh("unreadable")
            if isinstance(what, Compared | TextIs | TextsEqual | IsNil | Inverted | All | AnyOf | Always | Kept):
                true, false, ready = asm.fresh("true"), asm.fresh("false"), asm.fresh("ready")
                self._predicate.test(what, Outcome(true, false, unreadable))
                asm.mark(true)
                asm.mov(Reg.R0, 1)
                asm.jump(ready)
                asm.mark(false)
                asm.mov(Reg.R0, 0)
                asm.mark(ready)
            else:
                self._predicate.term(what, unreadable)
            asm.store(RECORD, offset + 8, Reg.R0)
            asm.store(RECORD, offset, 1)
            asm.jump(done)
            asm.mark(unreadable)
            asm.store(RECORD, offset, 0)
            asm.mark(done)


def _is_nothing(test: Test) -> bool:
    return test == Always(value=True) or (isinstance(test, All) and all(map(_is_nothing, test.tests)))
