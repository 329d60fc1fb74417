"""From a function's types and places to a BPF program: no clang, no kernel headers, no BTF of the target.

After `binaries` (which says where everything is), before `runtime` (which loads and attaches) and `decoding` (which
reads the records). One file a pass:

    bind       expression + ResolvedProbe -> Access        (which value is meant, and its type)
    predicate  `where`                    -> Test          (typed, split into entry and return)
    plan       Access                     -> reads, nodes  (what is copied where in the record)
    sites      reads                      -> the entry     (the cheapest place where they still hold)
    emit       reads                      -> instructions  (asm: the assembler, disasm: its reverse)

`service.compile_probe` chains them.
"""
