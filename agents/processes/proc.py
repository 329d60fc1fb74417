"""Read processes from /proc: pid, start time, executable, service name.

A service's name is the first of: PROBEGATE_SERVICE or OTEL_SERVICE_NAME in the process's environment, `service.name`
in its OTEL_RESOURCE_ATTRIBUTES, the systemd unit of its cgroup, the base name of its executable. The namespace is
PROBEGATE_NAMESPACE, or what Kubernetes mounts into every pod. Every read can fail because the process has just ended:
then it is not there, which is the truth. What enters is untrusted: a process chooses its own names.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.processes.model import Process

POD_NAMESPACE_FILE: Final = "var/run/secrets/kubernetes.io/serviceaccount/namespace"
MAX_ENVIRON_BYTES: Final = 1 << 20  # the kernel's own limit for one string is 128 KiB; a whole environment fits
MAX_STAT: Final = 4096  # bytes: 52 numbers and a name of 16
PT_LOAD: Final = 1
ELF64_HEADER: Final = struct.Struct("<32s Q 14x HH 6x")  # e_phoff at 32, e_phentsize at 54, e_phnum
ELF64_SEGMENT: Final = struct.Struct("<I4xQQ")  # p_type, p_offset, p_vaddr
Program = tuple[int, int, int]  # start time, first address of the code, bottom of the stack: new with every execve
_UNIT = re.compile(r"/([A-Za-z0-9@_.:\\-]+)\.service(?:/|$)")


class ProcFs:
    """The processes of this host. `root` is /proc; a test may write another one."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def all(self) -> Iterator[Process]:
        for pid in self.pids():
            if (process := self.find(pid)) is not None:
                yield process

    def pids(self) -> Iterator[int]:
        """Kernel threads and processes that are ending too."""
        return (int(name) for name in os.listdir(self._root) if name.isdigit())  # noqa: PTH208 -- a Path for each costs twice as much

    def program(self, pid: int) -> Program | None:
        """Which program it runs, for a tenth of what `find` costs; None when it runs none or has ended."""
        try:
            fields = stat_fields(self._root / str(pid))
            return int(fields[19]), int(fields[23]), int(fields[25])
        except (OSError, ValueError):
            return None

    def find(self, pid: int) -> Process | None:
        """The process with this pid; None when there is none or it is a kernel thread or has ended."""
        folder = self._root / str(pid)
        try:
            start_ticks = start_time(folder)
            exe = str((folder / "exe").readlink())
        except (OSError, ValueError):
            return None
        environ = _environ(folder)
        attributes = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        plain = exe.removesuffix(" (deleted)")
        return Process(
            pid=pid,
            start_ticks=start_ticks,
            exe=plain,
            file=self._openable(folder, exe),
            service=_service(folder, environ, attributes, plain),
            namespace=environ.get("PROBEGATE_NAMESPACE") or _pod_namespace(folder) or "",
            labels=tuple(sorted(attributes.items())),
        )

    def is_alive(self, process: Process) -> bool:
        """Whether it still is the same process, not another one with its number."""
        try:
            return start_time(self._root / str(process.pid)) == process.start_ticks
        except (OSError, ValueError):
            return False

    def load_bias(self, process: Process) -> int:
        """What to add to an address of the executable's file to have it in this process. Raises OSError.

        Not just where it is mapped: Go's linker gives a position-independent executable addresses from 0x400000 on.
        """
        folder = self._root / str(process.pid)
        inode = (folder / "exe").stat().st_ino
        for line in (folder / "maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and int(fields[4]) == inode and int(fields[2], 16) == 0:
                return int(fields[0].split("-")[0], 16) - first_address(folder / "exe")
        return 0

    @staticmethod
    def _openable(folder: Path, exe: str) -> str:
        within = folder / "root" / exe.lstrip("/")
        try:
            if within.samefile(folder / "exe"):
                return str(within)
        except OSError:
            pass  # deleted or replaced since it started: the link still opens the file that runs
        return str(folder / "exe")


def first_address(file: Path) -> int:
    """The virtual address that an ELF file asks for its first byte: p_vaddr - p_offset of its first PT_LOAD."""
    with file.open("rb") as elf:
        header = elf.read(ELF64_HEADER.size)
        if len(header) < ELF64_HEADER.size or header[:5] != b"\x7fELF\x02":
            return 0
        _, table, entry_size, count = ELF64_HEADER.unpack(header)
        for index in range(count):
            elf.seek(table + index * entry_size)
            kind, offset, address = ELF64_SEGMENT.unpack(elf.read(ELF64_SEGMENT.size))
            if kind == PT_LOAD:
                return int(address - offset)
    return 0


def start_time(folder: Path) -> int:
    return int(stat_fields(folder)[19])


def stat_fields(folder: Path) -> list[str]:
    """From field 3 of stat on; the command name in field 2 may hold spaces and parentheses, so count from the last one.

    Raises OSError, ValueError for a zombie: it runs nothing.
    """
    with open(f"{folder}/stat", "rb", buffering=0) as file:  # noqa: PTH123 -- read for every process, again and again
        stat = file.read(MAX_STAT)
    fields = stat[stat.rindex(b")") + 2 :].decode("ascii").split()
    if fields[0] == "Z":
        raise ValueError("a zombie runs nothing")
    return fields


def _environ(folder: Path) -> dict[str, str]:
    try:
        with (folder / "environ").open("rb") as file:
            raw = file.read(MAX_ENVIRON_BYTES)
    except OSError:
        return {}
    pairs = (item.decode(errors="replace").split("=", 1) for item in raw.split(b"\0") if b"=" in item)
    return {pair[0]: pair[1] for pair in pairs}


def _pairs(text: str) -> dict[str, str]:
    return {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in text.split(",")) if value}


def _service(folder: Path, environ: dict[str, str], attributes: dict[str, str], exe: str) -> str:
    named = environ.get("PROBEGATE_SERVICE") or environ.get("OTEL_SERVICE_NAME") or attributes.get("service.name")
    if named:
        return named
    try:
        units = _UNIT.findall((folder / "cgroup").read_text())
    except OSError:
        units = []
    # A login shell's children stand in user@1000.service or a terminal's unit: that names the session, not them.
    of_its_own = [unit for unit in units if not unit.startswith("user@")]
    return str(of_its_own[-1]) if of_its_own else Path(exe).name


def _pod_namespace(folder: Path) -> str | None:
    try:
        return (folder / "root" / POD_NAMESPACE_FILE).read_text().strip()
    except OSError:
        return None
