"""The `probegate` command: one module a group of sub-commands, `exits` for the codes, `output` for what is printed."""
