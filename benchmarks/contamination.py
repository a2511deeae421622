"""How long 100,000 training rows take against 5,000 rows of evaluation sets, and what is found of planted ones."""

from __future__ import annotations

import random
import time

from evals.contamination import compare

ROWS, TESTED, PLANTED = 100_000, 5_000, 1_000


def main() -> None:
    """Print one line a kind of copy."""
    chance = random.Random(5)  # noqa: S311 - made rows
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(30_000)]
    text = lambda: " ".join(chance.choices(words, k=chance.randint(20, 80)))  # noqa: E731 - said once, used twice
    tested = [{"question": text(), "answer": chance.choice(words)} for _ in range(TESTED)]
    rows = [{"text": text()} for _ in range(ROWS)]
    planted: dict[str, set[tuple[int, int]]] = {"exact": set(), "normalized": set(), "near": set()}
    for number, place in enumerate(chance.sample(range(ROWS), 3 * PLANTED)):
        question = tested[number]["question"]
        kind = ("exact", "normalized", "near")[number % 3]
        split = question.split()
        split[chance.randrange(len(split))] = "other"
        rows[place] = {"text": {"exact": question, "normalized": question.upper() + "!", "near": " ".join(split)}[kind]}
        planted[kind].add((place + 1, number + 1))
    began = time.perf_counter()
    overlap = compare(rows, {"evalset:made:1": tested})
    seconds = time.perf_counter() - began
    print(f"{ROWS} rows against {TESTED}: {seconds:.1f} s")
    for kind, pairs in planted.items():
        found = {(match.row, match.evalset_row) for match in overlap.matches if match.kind == kind}
        print(f"{kind}: recall {len(found & pairs) / len(pairs):.4f}, false alarms {len(found - pairs)}")


if __name__ == "__main__":
    main()
