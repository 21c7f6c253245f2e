"""What the command's exit codes mean; scripts and schedulers decide by them.

0: all that was asked for is done, or is as it should be. `EXIT_FAILED_RUN`: a run failed, a check
is an error, or something that was looked for is missing. `EXIT_PERMANENT`: what was asked for is
wrong, and the same call fails again. `EXIT_TRANSIENT`: try again later.
"""

from __future__ import annotations

EXIT_FAILED_RUN = 1
EXIT_PERMANENT = 2
EXIT_TRANSIENT = 75  # sysexits' EX_TEMPFAIL: a script may call again later
