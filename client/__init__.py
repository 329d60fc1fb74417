"""What people and programs use: the typed SDK and the `probegate` command. Talks HTTP to the control plane, nothing else."""
