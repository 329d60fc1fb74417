"""Put a compiled probe into the kernel and take it out again. After `compiler`, before `decoding`.

    bpf_syscall   bpf(2) by ctypes: every struct with its source
    maps, ring    the memory that is shared with the program
    programs      instructions -> loaded program, or the verifier's last words
    attach_multi  one uprobe_multi link per program and process (kernel 6.10 and later)
    attach_perf   one perf event per site through bcc (older kernels)
    watch         which of the processes still are the ones that were meant
    service       arm(...) -> ArmedProbe, all of it or nothing
    features      what this kernel and this process can do, found by trying
    calibration   what a trap costs here: the price of a hit that run-time statistics do not see
    inventory     what the kernel itself says is loaded: the proof that a probe is gone

Nothing is pinned: when the agent dies, by whatever death, the kernel closes its descriptors and every probe is gone.
"""
