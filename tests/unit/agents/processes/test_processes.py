"""Processes are chosen by what the target says, all of it, and never by guess."""

import struct
from pathlib import Path

import pytest

from agents.processes.model import NoProcess, NoProcessReason, Process
from agents.processes.proc import ProcFs
from agents.processes.service import MAX_PROCESSES, choose
from language.model import TargetSpec


def write_process(
    root: Path, pid: int, exe: str = "/bin/true", start: int = 100, env: str = "", cgroup: str = "0::/"
) -> None:
    folder = root / str(pid)
    folder.mkdir(parents=True)
    tail = " ".join(["S", *["0"] * 18, str(start), *["0"] * 30])
    (folder / "stat").write_text(f"{pid} (na (me) ) {tail}\n")
    (folder / "exe").symlink_to(exe)
    (folder / "environ").write_bytes(env.replace(" ", "\0").encode())
    (folder / "cgroup").write_text(cgroup + "\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write_process(tmp_path, 10, "/srv/shop", env="OTEL_SERVICE_NAME=checkout PROBEGATE_NAMESPACE=online")
    write_process(tmp_path, 11, "/srv/shop", env="OTEL_RESOURCE_ATTRIBUTES=service.name=cart,team=pay")
    write_process(tmp_path, 12, "/usr/sbin/unit", cgroup="0::/system.slice/payments.service")
    write_process(tmp_path, 13, "/opt/worker (deleted)")
    return tmp_path


def pids(proc: Path, **target: object) -> list[int]:
    return [p.pid for p in choose(ProcFs(proc), TargetSpec(**target))]


def test_a_service_is_found_by_its_environment_unit_or_executable(proc):
    assert pids(proc, service="checkout") == [10]
    assert pids(proc, service="cart") == [11]
    assert pids(proc, service="payments") == [12]
    assert pids(proc, service="worker") == [13]


def test_every_field_of_a_target_must_match(proc):
    assert pids(proc, exe="/srv/shop") == [10, 11]
    assert pids(proc, exe="/srv/shop", labels=(("team", "pay"),)) == [11]
    with pytest.raises(NoProcess, match="cart"):
        pids(proc, pids=(11,), service="checkout")


def test_a_pod_is_its_namespace_and_the_start_of_its_name(proc):
    assert pids(proc, pod="online/checkout") == [10]
    with pytest.raises(NoProcess):
        pids(proc, pod="other/checkout")
    with pytest.raises(NoProcess):
        pids(proc, pod="online/check")


def test_an_empty_target_means_nobody(proc):
    with pytest.raises(NoProcess) as raised:
        pids(proc, language="go")
    assert raised.value.reason is NoProcessReason.EMPTY_TARGET


def test_an_unknown_service_is_answered_with_those_that_run(proc):
    with pytest.raises(NoProcess, match="cart, checkout, payments, worker"):
        pids(proc, service="nobody")


def test_more_processes_than_one_probe_may_have_are_refused(tmp_path):
    for pid in range(1, MAX_PROCESSES + 2):
        write_process(tmp_path, pid, "/srv/many")
    with pytest.raises(NoProcess, match="narrow the target"):
        pids(tmp_path, exe="/srv/many")


def test_a_pid_that_was_used_again_is_another_process(proc, tmp_path):
    source = ProcFs(proc)
    process = source.find(10)
    assert process is not None
    assert source.is_alive(process)
    (proc / "10" / "stat").write_text("10 (x) " + " ".join(["S", *["0"] * 18, "101", "0"]))
    assert not source.is_alive(process)


def test_a_zombie_is_not_a_process_to_probe(proc):
    (proc / "10" / "stat").write_text("10 (x) " + " ".join(["Z", *["0"] * 18, "100", "0"]))
    assert ProcFs(proc).find(10) is None


def test_the_load_bias_is_what_is_added_to_the_file_s_own_addresses(tmp_path):
    """Go's linker lets a position-independent executable begin at 0x400000, most others begin at 0."""
    write_process(tmp_path, 5, "/srv/pie")
    segment = struct.pack("<IIQQ", 6, 4, 64, 0x400040), struct.pack("<IIQQ", 1, 5, 0, 0x400000)
    elf = b"\x7fELF\x02".ljust(32, b"\0") + struct.pack("<Q14xHH", 64, 24, 2)
    exe = tmp_path / "5" / "exe"
    exe.unlink()
    exe.write_bytes(elf.ljust(64, b"\0") + b"".join(segment))
    inode = exe.stat().st_ino
    (tmp_path / "5" / "maps").write_text(f"7f0000000000-7f0000001000 r-xp 00000000 00:00 {inode} /srv/pie\n")
    process = Process(5, 1, "/srv/pie", "/srv/pie", "pie", "")
    assert ProcFs(tmp_path).load_bias(process) == 0x7F0000000000 - 0x400000
