"""How long to wait before another try: at random, longer each time, and never shorter than was asked for."""

import random

SECONDS_MAX = 300.0
AT_LEAST_SECONDS_MAX = 3600.0


def backoff(attempt: int, *, at_least: float = 0.0) -> float:
    """Seconds until the next try after `attempt` of them: full jitter under a ceiling that doubles, to five minutes.

    `at_least` is what a Retry-After said, believed up to an hour. The jitter comes on top of it, so that a thousand
    jobs that were all told the same do not come back in the same second.
    """
    ceiling = min(SECONDS_MAX, 2.0 ** min(max(attempt, 0), 30))
    floor = min(at_least, AT_LEAST_SECONDS_MAX) if at_least > 0 else 0.0
    return floor + random.uniform(0.0, ceiling)  # noqa: S311
