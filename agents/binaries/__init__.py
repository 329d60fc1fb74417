"""What a binary says of one function. After `processes` (which file), before `compiler` (a program for it).

elf_image        file          -> sections, symbols, addresses        (pyelftools stays there)
function_names   asked name    -> one symbol, or Unresolved with the nearest names
dwarf_*          sections      -> entries, lists, expressions, lines
go_*, sysv_*     entries       -> types and where arguments and results live
code_sites       instructions  -> where to probe                      (capstone stays in capstone_decoder)
service          all of it     -> ResolvedProbe, kept on disk by `resolution_cache`
"""
