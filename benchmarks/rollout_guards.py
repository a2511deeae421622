"""How many requests a rollout's guards need to find what is worse, and how many sound candidates they turn away.

`python benchmarks/rollout_guards.py --rollouts 500` simulates; no model and no gateway is asked.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Mapping
from statistics import quantiles

from serving.rollouts.guards import MARGINS, Guards, Seen
from serving.rollouts.wager import Wager

ALPHA = 0.05
CASES: Mapping[str, Mapping[str, float]] = {
    "A/A: the same on both sides": {},
    "a fifth of requests fail": {"errors": 0.2},
    "first tokens take twice as long": {"slower": 2.0},
    "a third of answers is no JSON": {"invalid": 0.33},
    "quality 0.80 -> 0.65": {"quality": 0.65},
}


def simulate(
    seed: int, wrong: Mapping[str, float], *, share: float = 0.1, most: int = 20_000
) -> tuple[str | None, int]:
    """Return which guard ended a rollout, if any did, and how many requests the candidate had by then."""
    rng = random.Random(seed)  # noqa: S311  a simulation
    guards, had = Guards(MARGINS, alpha=ALPHA), 0
    for _ in range(most):
        ours = rng.random() < share
        had += ours
        case = wrong if ours else {}
        guards.observe(
            Seen(
                candidate=ours,
                failed=rng.random() < case.get("errors", 0.01),
                first_token=rng.lognormvariate(0, 0.5) * case.get("slower", 1.0),
                speed=50 * rng.lognormvariate(0, 0.3),
                invalid=rng.random() < case.get("invalid", 0.05),
                quality=float(rng.random() < case.get("quality", 0.8)),
            )
        )
        if alarm := guards.alarm:
            return alarm, had
    return None, had


def at_the_margin(seed: int, *, pairs: int) -> bool:
    """Whether one guard at alpha 5 % turns away a candidate that is worse by exactly its margin, the hardest case."""
    rng, wager = random.Random(seed), Wager(0.05)  # noqa: S311  a simulation
    for _ in range(pairs):
        wager.observe(float(rng.random() < 0.20), candidate=False)
        wager.observe(float(rng.random() < 0.25), candidate=True)
        if wager.proves(ALPHA):
            return True
    return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=500)
    parser.add_argument("--requests", type=int, default=5_000, help="of both sides, at most")
    parser.add_argument("--share", type=float, default=0.1, help="of the candidate")
    given = parser.parse_args()
    print(f"{given.rollouts} rollouts a row, the candidate gets {given.share:.0%}, five guards, alpha {ALPHA:.0%}\n")
    print("| | turned away | candidate's requests until then, middle | 90 % | most | by |")
    print("|---|---|---|---|---|---|")
    for name, wrong in CASES.items():
        most = given.requests if not wrong else 20 * given.requests
        rollouts = given.rollouts if not wrong else max(40, given.rollouts // 5)
        found = [simulate(seed, wrong, share=given.share, most=most) for seed in range(rollouts)]
        ended = sorted(had for alarm, had in found if alarm)
        cuts = quantiles(ended, n=10) if len(ended) > 1 else [0] * 9
        by = ", ".join(
            f"{alarm} {count}" for alarm, count in Counter(alarm for alarm, _ in found if alarm).most_common()
        )
        last = ended[-1] if ended else 0
        print(f"| {name} | {len(ended)} of {rollouts} | {cuts[4]:.0f} | {cuts[8]:.0f} | {last} | {by} |", flush=True)
    worst = sum(at_the_margin(seed, pairs=2_000) for seed in range(given.rollouts))
    print(f"| one guard, worse by exactly its margin | {worst} of {given.rollouts} | | | | |")


if __name__ == "__main__":
    main()
