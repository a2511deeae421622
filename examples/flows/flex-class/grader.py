from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass
class Grade:
    score: float
    passed: bool


class Grader:
    def __init__(self, passing: float = 0.5):
        self.passing = passing

    async def __call__(self, expected: str, given: str) -> Grade:
        score = round(SequenceMatcher(None, expected.lower(), given.lower()).ratio(), 3)
        return Grade(score=score, passed=score >= self.passing)

    def __aggregate__(self, results: list) -> dict:
        return {
            "mean": sum(grade.score for grade in results) / len(results),
            "passed": sum(grade.passed for grade in results),
        }
