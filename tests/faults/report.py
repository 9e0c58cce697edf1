"""`python -m tests.faults.report`: the figures of the last runs, as a table for docs/07."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import figures

if __name__ == "__main__":
    print(figures.table())
