"""`python -m agents.masking.compile_scanner FOLDER`: compile the scanner and keep it there.

A process of its own, since what compiling leaves behind in the heap (20 MB) never goes back to the system. Started by
`agents.masking.scanning` where nothing was kept; the agent then loads the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agents.masking.scanning import FEW, scanner

if __name__ == "__main__":
    scanner().kept_in(Path(sys.argv[1]))
    scanner().warm(FEW + 1)
