"""`python -m novai_web.embedded`: what `make run` runs.

With `--with-parent` it also stops when whoever started it is gone, such as a `make` that was killed.
"""

import os
import signal
import sys

from novai_web.config import Settings
from novai_web.embedded import launcher, leash, warden
from novai_web.embedded.service import CannotStart


def main() -> int:
    if "--with-parent" in sys.argv[1:]:
        leash.die_with_parent(os.getppid(), by=signal.SIGTERM)
    settings = Settings.read()
    try:
        return warden.guarded(lambda: launcher.run(settings))
    except CannotStart as problem:
        print(f"NOVAI cannot start. {problem}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
