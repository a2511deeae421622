"""Answers of language models: whether a judge finds them as they should be, and how many tokens they took."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from jobs.files.monitor import GenerationQuality, TokenStatistics
from jobs.monitors.frames import CORRELATION, Frame, quoted
from jobs.monitors.measures import Found, Measure, Skip
from workspace.errors import Invalid

if TYPE_CHECKING:
    import duckdb

    from jobs.monitors.windows import Span
    from workspace.home import Workspace

ACCEPTABLE = 3.5  # of 5: what an answer must reach where the file says nothing
PASS_RATE = 0.7
AT_ONCE = 4  # questions to the judge
PATIENCE = 60.0  # seconds for one reply
OPEN_AI, AZURE_VERSION = "https://api.openai.com/v1", "2024-10-21"
_NEVER = (401, 403, 404)  # what it says to a key, a right or a name that is wrong: another time it says the same
MOST = 500  # answers that are judged in one run
PROMPT, COMPLETION, CONTEXT, TRUTH = "prompt", "completion", "context", "ground_truth"
# What a judge is asked, and what it must be shown for that.
QUESTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "groundedness": ("Is everything that the answer says found in the context, and nothing added?",
                     (CONTEXT, COMPLETION)),
    "relevance": ("Does the answer say what the question asks for, and nothing beside it?", (PROMPT, COMPLETION)),
    "coherence": ("Do the sentences of the answer fit together and follow from each other?", (PROMPT, COMPLETION)),
    "fluency": ("Is the answer written in correct, natural language?", (COMPLETION,)),
    "similarity": ("Does the answer mean the same as the expected answer?", (PROMPT, COMPLETION, TRUTH)),
}  # fmt: skip
_TOLD = {PROMPT: "Question", COMPLETION: "Answer", CONTEXT: "Context", TRUTH: "Expected answer"}
_ALSO = {PROMPT: ("question", "query"), COMPLETION: ("answer", "output", "response"), CONTEXT: ("documents",),
         TRUTH: ("expected", "expected_response")}  # fmt: skip
_SYSTEM = "You are a strict grader. You reply with one digit from 1 to 5 and nothing else."
_GRADE = re.compile(r"(?<![\d.])([1-5])(?![\d]|\.\d)")
_TOKENS = ("total_tokens", "total_token_count", "totaltokens", "tokens", "totaltoken")

Ask = Callable[[str], str]


def quality(database: duckdb.DuckDBPyConnection, frame: Frame, names: Mapping[str, Any], signal: GenerationQuality,
            ask: Ask) -> Found:  # fmt: skip
    """Have a judge grade answers from 1 to 5; measure which share is acceptable, for each question with a threshold."""
    columns = {key: found for key in _TOLD if (found := _named(frame, names, key))}
    measures: list[Measure] = []
    notes: list[str] = []
    for kind, (question, needs) in QUESTIONS.items():
        said: Mapping[str, float] = getattr(signal.metric_thresholds, kind)
        if not said:
            continue
        if missing := [key for key in needs if key not in columns]:
            notes.append(f"{kind} is not measured: no column for {' and '.join(missing)} under data_column_names")
            continue
        rows = _sampled(database, frame, [columns[key] for key in needs], signal.sampling_rate)
        prompts = [_prompt(question, dict(zip(needs, row, strict=True))) for row in rows]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            grades = [grade(reply) for reply in pool.map(ask, prompts)]
        rates, told = _rate(kind, [each for each in grades if each is not None], said)
        measures += rates
        if lost := grades.count(None):
            notes.append(f"{kind}: {lost} of {len(grades)} replies of the judge have no clear grade {told}".rstrip())
    if not measures:
        raise Skip("; ".join(notes) or "no threshold is given")
    return Found(measures=measures, notes=notes)


def grade(reply: str) -> int | None:
    """Return the one grade that a reply states, None where it states none or several.

    >>> grade("Score: 4"), grade("between 2 and 3"), grade("none")
    (4, None, None)
    """
    found = set(_GRADE.findall(reply.replace("/5", "").replace("out of 5", "")))
    return int(found.pop()) if len(found) == 1 else None


def judge(connection: Mapping[str, Any], model: str) -> Ask:
    """Return what asks a chat model behind a connection, of kind open_ai, azure_open_ai or one with a `target`."""
    key = str(connection.get("api_key") or (connection.get("credentials") or {}).get("key") or "")
    leads = str(connection.get("azure_endpoint") or connection.get("target") or connection.get("endpoint") or OPEN_AI)
    url, headers = f"{leads.rstrip('/')}/chat/completions", {"Authorization": f"Bearer {key}"} if key else {}
    if connection["type"] == "azure_open_ai":
        version = connection.get("api_version") or AZURE_VERSION
        url = f"{leads.rstrip('/')}/openai/deployments/{model}/chat/completions?api-version={version}"
        headers = {"api-key": key}
    name = connection["name"]

    def ask(prompt: str) -> str:
        said = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": prompt}]
        body = {"model": model, "messages": said, "temperature": 0, "max_tokens": 12}
        try:
            found = httpx.post(url, headers=headers, json=body, timeout=PATIENCE)
            found.raise_for_status()
            return str(found.json()["choices"][0]["message"]["content"])
        except httpx.HTTPStatusError as problem:
            status = problem.response.status_code
            why = f"the judge of connection {name!r} answered {status}: {problem.response.text[:200]}"
            if status in _NEVER:
                hint = "check the connection's key and address, and the model's name"
                raise Invalid(why, hint=hint) from None
            raise Skip(why) from None
        except httpx.HTTPError as problem:
            raise Skip(f"the judge of connection {name!r} cannot be reached: {problem}") from None
        except (ValueError, LookupError, TypeError):
            raise Skip(f"the judge of connection {name!r} gives no chat completion") from None

    return ask


def tokens(
    database: duckdb.DuckDBPyConnection, frame: Frame, names: Mapping[str, Any], signal: TokenStatistics
) -> Found:
    """Count the tokens of a time, all of them and by group. A threshold of 0, as Azure ML's own, alarms nobody."""
    column = _tokens_in(frame, names)
    of = f"TRY_CAST({column} AS DOUBLE)"
    found = database.execute(f"SELECT sum({of}), avg({of}), count({of}) FROM {frame.table}").fetchone()
    if found is None or not found[2]:
        raise Skip(f"no row of {frame.source} says how many tokens it took")
    group = next((name for name in (names.get("group"), "group", "model") if name and name in frame.columns), None)
    rows = []
    if group:
        rows = database.execute(
            f"SELECT {quoted(str(group))}::VARCHAR, sum({of}) FROM {frame.table} WHERE {of} IS NOT NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100"
        ).fetchall()
    return _counted(found[0], found[2], rows, signal)


def served(workspace: Workspace, deployment: str, span: Span, signal: TokenStatistics) -> Found:
    """Count the tokens of what the gateway has answered for `ENDPOINT/DEPLOYMENT`, by the rows that it keeps."""
    table = workspace.sql(
        "SELECT model, sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) AS tokens, count(*) "
        f"FROM requests WHERE deployment = '{deployment.replace(chr(39), '')}' "
        f"AND epoch(ts) >= {span.start!r} AND epoch(ts) < {span.end!r} "
        "AND (prompt_tokens IS NOT NULL OR completion_tokens IS NOT NULL) "
        "GROUP BY model ORDER BY tokens DESC, model"
    )
    if not table.rows:
        raise Skip(f"{deployment} has collected no answers, and answered no request that tells its tokens")
    total, count = sum(row[1] for row in table.rows), sum(row[2] for row in table.rows)
    found = _counted(float(total), count, [(row[0], float(row[1])) for row in table.rows], signal, scaled=False)
    return Found(measures=found.measures, notes=[f"by the gateway's own rows of {count} requests"])


def _counted(
    total: float, count: int, groups: Sequence[tuple[str, float]], signal: TokenStatistics, *, scaled: bool = True
) -> Found:
    said = signal.metric_thresholds.totaltoken if signal.metric_thresholds else {}
    scale = 1 / signal.sampling_rate if signal.sampling_rate and scaled else 1.0
    whole, each = (said.get(key) or None for key in ("total_token_count", "total_token_count_per_group"))
    measures = [
        Measure(metric="total_token_count", value=total * scale, threshold=whole),
        Measure(metric="average_token_count", value=total / count),
    ]
    measures += [
        Measure(metric="total_token_count_per_group", value=tokens * scale, threshold=each, feature=str(name))
        for name, tokens in groups
    ]
    return Found(measures=measures)


def _rate(kind: str, grades: Sequence[int], said: Mapping[str, float]) -> tuple[list[Measure], str]:
    if not grades:
        return [], "and none is left"
    least = said.get(f"acceptable_{kind}_score_per_instance", ACCEPTABLE)
    rate = sum(each >= least for each in grades) / len(grades)
    threshold = said.get(f"aggregated_{kind}_pass_rate", PASS_RATE)
    return [
        Measure(metric=f"aggregated_{kind}_pass_rate", value=rate, threshold=threshold),
        Measure(metric=f"average_{kind}_score", value=sum(grades) / len(grades)),
    ], ""


def _sampled(
    database: duckdb.DuckDBPyConnection, frame: Frame, columns: Sequence[str], rate: float | None
) -> list[tuple[str, ...]]:
    """Return what is judged: the share that the signal says, spread over the time, never more than MOST."""
    wanted = ", ".join(f"{quoted(name)}::VARCHAR" for name in columns)
    there = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in columns)
    count = min(MOST, max(1, math.ceil(frame.rows * (1.0 if rate is None else rate))))
    rows = database.execute(
        f"SELECT * FROM (SELECT {wanted} FROM {frame.table} WHERE {there}) "  # a sample is taken before WHERE
        f"USING SAMPLE reservoir({count} ROWS) REPEATABLE (7)"
    ).fetchall()
    if not rows:
        raise Skip(f"no row of {frame.source} has {' and '.join(columns)}")
    return [tuple(map(str, row)) for row in rows]


def _prompt(question: str, shown: Mapping[str, str]) -> str:
    parts = "\n\n".join(f"{_TOLD[key]}:\n{value}" for key, value in shown.items())
    return f"{question}\n\n{parts}\n\nGrade from 1 (not at all) to 5 (fully). Reply with the digit only."


def _named(frame: Frame, names: Mapping[str, Any], key: str) -> str | None:
    said = names.get(key)
    if said is not None:
        if said not in frame.columns:
            raise Invalid(f"{frame.source} has no column {said!r}", hint=f"its columns: {', '.join(frame.columns)}")
        return str(said)
    return next((each for each in (key, *_ALSO[key]) if each in frame.columns and each != CORRELATION), None)


def _tokens_in(frame: Frame, names: Mapping[str, Any]) -> str:
    """Return the SQL of a row's tokens: a column of that name, or the usage of an OpenAI answer."""
    said = names.get("total_tokens") or names.get("totaltoken")
    for name in (said, *_TOKENS):
        if name and name in frame.columns:
            return quoted(str(name))
    usage = frame.columns.get("usage", "")
    if usage == "JSON":  # of an answer as it was collected
        return f"({quoted('usage')} ->> '$.total_tokens')"
    if "total_tokens" in usage:
        return f"{quoted('usage')}.total_tokens"
    raise Skip(f"{frame.source} does not say how many tokens were used; its columns: {', '.join(frame.columns)}")
