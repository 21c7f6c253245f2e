"""What the command's exit codes mean; scripts and schedulers decide by them."""

from __future__ import annotations

EXIT_FAILED_RUN = 1
EXIT_PERMANENT = 2
EXIT_TRANSIENT = 75  # sysexits' EX_TEMPFAIL: a script may call again later
