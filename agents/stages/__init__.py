"""One probe's whole way through the agent: choose, resolve, compile, arm, drain, decode, mask, and account for it.

Before: `agents.admission` (or a template given to `probegate-agent try`) says what to probe. After: masked rows, which
`agents.uplink` sends or `try` prints. `order` says what to do, `binding` finds it in the running processes' files,
`probe` runs it, `accounting` says what became of every hit. `agents.supervisor` keeps many of these alive.
"""
