"""`python -m privacy.catalogue FILE`: write the record of processing activities."""

from __future__ import annotations

import sys
from pathlib import Path

from privacy.catalogue.record import record
from privacy.logs import configure_process

if __name__ == "__main__":
    configure_process(messages=True)
    Path(sys.argv[1]).write_text(record(), "utf-8")
