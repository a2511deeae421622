"""Series of a table: each a line of values without gaps, told apart by columns; refused where time makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from finetune.automl import columns as looked
from finetune.automl.wanted import Horizon, Wanted
from workspace.errors import Invalid

Numbers = Any
ALONE = ""  # the key of a series that is the only one
# Steps after which a series of such a frequency usually comes again, the nearest first.
SEASONS = {"min": (60, 1440), "h": (24, 168), "D": (7, 365), "B": (5,), "W": (52,), "ME": (12,), "MS": (12,),
           "QE": (4,), "QS": (4,), "YE": (1,), "YS": (1,)}  # fmt: skip
_LEAST = 3  # steps that a series has beyond what is held back


@dataclass(frozen=True, slots=True)
class Line:
    """One series: `values` at regular `moments`, and what else is known of each."""

    key: str
    moments: Any  # a DatetimeIndex
    values: Numbers
    known: Numbers  # a column each

    def __len__(self) -> int:
        return len(self.values)

    def until(self, end: int) -> Line:
        """Return its first `end` steps."""
        return Line(self.key, self.moments[:end], self.values[:end], self.known[:end])


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How a table is taken as series: what a model must know to take the next one."""

    horizon: Horizon
    target: str
    frequency: str
    steps: int
    seasons: tuple[int, ...]  # the nearest first; (1,) where nothing comes again
    known: tuple[str, ...] = ()  # columns that are known ahead
    levels: dict[str, list[str]] = field(default_factory=dict)  # of columns of words

    @property
    def season(self) -> int:
        """The nearest season."""
        return self.seasons[0]


def lines_of(table: Any, wanted: Wanted, notes: list[str]) -> tuple[Frame, list[Line]]:
    """Return the series of a table, and how it was taken."""
    horizon = wanted.horizon
    assert horizon is not None  # noqa: S101  a forecast has one
    table = table.rename(columns=str)
    for name in (horizon.time, wanted.target, *horizon.series, *horizon.unknown):
        if name not in table.columns:
            raise Invalid(f"the table has no column {name!r}", hint=f"its columns are {', '.join(table.columns[:20])}")
    if not len(table):
        raise Invalid("the table has no row: there is nothing to learn from")
    ordered = _ordered(table, horizon, wanted.target)
    groups = {key: _aggregated(part, horizon, wanted.target, key) for key, part in ordered.groupby("key", sort=True)}
    longest = max(groups.values(), key=len)
    frequency = horizon.frequency or frequency_of(longest["moment"])
    frame = _frame(table, horizon, wanted, frequency=frequency, length=len(longest))
    lines = [_line(str(key), part, frame, notes) for key, part in groups.items()]
    return frame, _long_enough(lines, frame, notes)


def frequency_of(moments: Any) -> str:
    """Return how far apart moments are, as pandas says it."""
    sample = pd.DatetimeIndex(moments[:200])
    found = pd.infer_freq(sample) if len(sample) > 3 else None
    if found:
        return str(found)
    gaps = pd.Series(np.diff(pd.DatetimeIndex(moments)))
    if not len(gaps):
        raise Invalid("a series of one row cannot be forecast")
    common = pd.Timedelta(gaps.mode().iloc[0])
    if pd.Timedelta(28, "D") <= common <= pd.Timedelta(31, "D"):
        return "MS" if (pd.DatetimeIndex(moments).day == 1).mean() > 0.5 else "ME"
    return str(pd.tseries.frequencies.to_offset(common).freqstr)


def key_of(table: Any, horizon: Horizon) -> Any:
    """Return the key of each row's series."""
    if not horizon.series:
        return pd.Series(ALONE, index=table.index)
    return table[list(horizon.series)].astype(str).agg("/".join, axis=1)


def known_of(table: Any, frame: Frame) -> Numbers:
    """Return what is known ahead as numbers; words by their place among those that were learned from."""
    found = []
    for name in frame.known:
        if name not in table.columns:
            raise Invalid(f"the rows have no column {name!r}, which the model knows ahead")
        values = table[name]
        if name in frame.levels:
            place = {level: number for number, level in enumerate(frame.levels[name])}
            found.append(values.map(lambda each, place=place: place.get(str(each), -1)).to_numpy(dtype=float))
        else:
            found.append(pd.to_numeric(values, errors="coerce").to_numpy(dtype=float))
    return np.column_stack(found) if found else np.zeros((len(table), 0))


def moments_of(values: Any, name: str) -> Any:
    """Return the moments of a column; Invalid where it has something else."""
    found = looked.as_dates(values)
    if bad := int(found.isna().sum()):
        example = values[found.isna()].iloc[0]
        raise Invalid(f"{bad:,} of {len(values):,} values of {name!r} are no moments, such as {example!r}")
    return found


def _ordered(table: Any, horizon: Horizon, target: str) -> Any:
    moments = moments_of(table[horizon.time], horizon.time)
    numbers = pd.to_numeric(table[target], errors="coerce")
    if wrong := int((numbers.isna() & table[target].notna()).sum()):
        raise Invalid(f"{wrong:,} values of the target {target!r} are no numbers")
    found = table.assign(key=key_of(table, horizon), moment=moments, **{target: numbers})
    return found.sort_values(["key", "moment"], kind="stable").reset_index(drop=True)


def _aggregated(part: Any, horizon: Horizon, target: str, key: Any) -> Any:
    twice = part["moment"].duplicated()
    if not twice.any():
        return part
    if not horizon.aggregate:
        moment = part["moment"][twice].iloc[0]
        raise Invalid(
            f"the series {key!r} has several rows at {moment}" if key else f"there are several rows at {moment}",
            hint="name what tells series apart in `time_series_id_column_names`, or set `target_aggregate_function`",
        )
    others = {name: "first" for name in part.columns if name not in (target, "moment")}
    return part.groupby("moment", as_index=False).agg({target: horizon.aggregate, **others})


def _frame(table: Any, horizon: Horizon, wanted: Wanted, *, frequency: str, length: int) -> Frame:
    apart = {horizon.time, wanted.target, *horizon.series, *horizon.unknown}
    known = [name for name in table.columns if name not in apart and table[name].nunique() > 1]
    words = [name for name in known if not pd.api.types.is_numeric_dtype(table[name])]
    levels = {name: sorted(map(str, table[name].dropna().unique()))[:1000] for name in words}
    unit = frequency.partition("-")[0].lstrip("0123456789")
    usual = SEASONS.get(unit, (1,)) if frequency[:1].isalpha() else (1,)
    seasons = (horizon.season,) if horizon.season else tuple(each for each in usual if 2 * each < length) or (1,)
    steps = horizon.steps or max(1, min(max(2, seasons[0]), length // 5))
    return Frame(horizon=horizon, target=wanted.target, frequency=frequency, steps=steps, seasons=seasons,
                 known=tuple(known), levels=levels)  # fmt: skip


def _line(key: str, part: Any, frame: Frame, notes: list[str]) -> Line:
    """Return a series at regular moments; what was missing lies on the line between its neighbours."""
    known = known_of(part, frame)
    indexed = pd.DataFrame(
        {"value": part[frame.target].to_numpy(dtype=float), **{str(n): known[:, n] for n in range(known.shape[1])}},
        index=pd.DatetimeIndex(part["moment"]),
    )
    regular = indexed.asfreq(frame.frequency)
    if not len(regular) or regular["value"].notna().sum() < indexed["value"].notna().sum() / 2:
        hint = f"`frequency` may be another than {frame.frequency!r}"
        raise Invalid(f"the moments of {key or 'the series'!r} are not at regular steps", hint=hint)
    gaps = int(regular["value"].isna().sum())
    if gaps:
        notes.append(f"{gaps:,} steps of {key or 'the series'!r} were missing and lie between their neighbours now")
    values = regular["value"].interpolate(limit_direction="both").to_numpy()
    filled = regular.drop(columns="value").ffill().bfill().to_numpy(dtype=float)
    return Line(key, regular.index, values, filled)


def _long_enough(lines: list[Line], frame: Frame, notes: list[str]) -> list[Line]:
    least = 2 * frame.steps + _LEAST
    short = [line for line in lines if len(line) < least]
    if not short:
        return lines
    how = frame.horizon.short
    if how == "auto":
        how = "pad" if len(short) == len(lines) else "drop"
    if how == "none":
        hint = "a shorter `forecast_horizon`, or `short_series_handling_config: pad` or `drop`"
        raise Invalid(f"the series {short[0].key!r} has {len(short[0])} steps, and {least} are needed", hint=hint)
    notes.append(f"{len(short)} of {len(lines)} series are shorter than {least} steps: {how}")
    if how == "drop":
        kept = [line for line in lines if len(line) >= least]
        if not kept:
            raise Invalid(f"no series has {least} steps", hint="a shorter `forecast_horizon`, or pad short series")
        return kept
    return [line if len(line) >= least else _padded(line, least, frame.frequency) for line in lines]


def _padded(line: Line, least: int, frequency: str) -> Line:
    more = least - len(line)
    moments = pd.date_range(end=line.moments[0], periods=more + 1, freq=frequency)[:-1].append(line.moments)
    noise = np.random.default_rng(0).normal(0, 1e-6 * (np.std(line.values) or 1.0), more)
    values = np.concatenate([np.full(more, line.values.mean()) + noise, line.values])
    known = np.vstack([np.repeat(line.known[:1], more, axis=0), line.known])
    return Line(line.key, moments, values, known)
