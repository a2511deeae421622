from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample, Score

SETUP = """
CREATE TABLE cities (name VARCHAR, people INTEGER);
INSERT INTO cities VALUES ('Rome', 2800000), ('Milan', 1400000), ('Turin', 850000);
"""
WANTED = "SELECT name FROM cities WHERE people > 1000000"


def scored(answer: str, expected: str = WANTED, **settings: Any) -> Score:
    return scorers.get("sql", setup=SETUP, **settings)(
        Sample(number=0, row="", inputs={}, answer=answer, expected=expected)
    )


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("SELECT name FROM cities WHERE people >= 1400000 ORDER BY people", 1.0),
        ("```sql\nselect c.name as city from cities c where people > 1e6;\n```", 1.0),
        ("SELECT name FROM cities", 0.0),
        ("SELECT name FROM cities WHERE people > 1000000 UNION ALL SELECT 'Rome'", 0.0),
        ("SELECT nome FROM cities", 0.0),
        ("the big ones", 0.0),
    ],
)
def test_queries_are_compared_by_the_rows_they_give(answer: str, value: float) -> None:
    assert scored(answer).value == value


def test_order_and_names_of_columns_count_where_asked_for() -> None:
    right = "SELECT name FROM cities ORDER BY people"
    turned = "SELECT name FROM cities ORDER BY people DESC"
    assert scored(turned, right).value == 1.0
    assert scored(turned, right, order="same").value == 0.0
    assert scored("SELECT name AS n FROM cities", right, columns="same").value == 0.0


def test_numbers_of_other_types_are_the_same_numbers() -> None:
    assert scored("SELECT 0.1::DOUBLE + 0.2", "SELECT 0.30::DECIMAL(4, 2)").value == 1.0


@pytest.mark.parametrize("answer", ["DROP TABLE cities", "DELETE FROM cities", "SELECT 1; SELECT 2", "SET threads = 9"])
def test_only_one_query_is_an_answer(answer: str) -> None:
    score = scored(answer)
    assert score.value == 0.0
    assert score.details["mistake"] == "not one SELECT"


def test_a_query_sees_no_file_and_writes_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    assert "disabled" in scored(f"SELECT * FROM read_csv('{secret}')").details["mistake"]
    assert scored(f"COPY cities TO '{tmp_path / 'out.csv'}'").value == 0.0
    assert not (tmp_path / "out.csv").exists()


def test_a_query_that_never_ends_is_wrong_and_ends() -> None:
    score = scored("SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000) c", seconds=0.3)
    assert score.value == 0.0
    assert "more than 0.3 s" in score.details["mistake"]


def test_a_query_that_gives_too_much_is_wrong() -> None:
    assert "more than 100000 rows" in scored("SELECT * FROM range(200000)").details["mistake"]


def test_an_expected_query_that_fails_is_an_error_and_no_wrong_answer() -> None:
    score = scored(WANTED, "SELECT nothing FROM nowhere")
    assert score.value is None
    assert "the expected query fails" in str(score.error)
