"""What the client keeps by name alone: computes, datastores, connections, registries, and schedules."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studiolo.sdk.found import Found
from workspace.home import Workspace

if TYPE_CHECKING:
    from jobs.schedules.store import ScheduleRecord

Said = Path | str | Mapping[str, Any]  # a file, or what it would say; then paths start in the current folder


class Resources:
    """Computes, datastores, connections or registries."""

    def __init__(self, workspace: Workspace, kind: str) -> None:
        self._workspace = workspace
        self._kind = kind

    def create_or_update(self, said: Said) -> Found:
        """Keep what a file, or a mapping, says; secrets are sealed."""
        from jobs import assets

        source = said if isinstance(said, Mapping) else Path(said)
        return Found(assets.create(self._workspace, self._kind, source, folder=Path.cwd()))

    begin_create_or_update = create_or_update

    def get(self, name: str) -> Found:
        """Return one."""
        from jobs import assets

        return Found(assets.show(self._workspace, self._kind, name))

    def list(self) -> Sequence[Found]:
        """Return all of them."""
        from jobs import assets

        return [Found(each) for each in assets.list_all(self._workspace, self._kind)]

    def delete(self, name: str) -> Found:
        """Forget one, and return what it was."""
        from jobs import assets

        found = self.get(name)
        assets.delete(self._workspace, self._kind, name)
        return found

    begin_delete = delete


class Schedules:
    """Jobs that run again and again: by the clock, by hand, over HTTP."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, said: Said) -> Found:
        """Make a schedule of a file or a mapping, or put it in the place of the one of that name."""
        from jobs.files import made, read_schedule
        from jobs.schedules import store

        read = made("schedule", said, Path.cwd()) if isinstance(said, Mapping) else read_schedule(Path(said))
        return self._shown(store.put(self._workspace, read, now=time.time()))

    begin_create_or_update = create_or_update

    def get(self, name: str) -> Found:
        """Return one, with the moments that come."""
        from jobs.schedules import store

        return self._shown(store.get(self._workspace, name))

    def list(self) -> Sequence[Found]:
        """Return all of them, also those that are disabled."""
        from jobs.schedules import store

        return [self._shown(each) for each in store.listed(self._workspace)]

    def enable(self, name: str) -> Found:
        """Have the clock fire it."""
        return self._switched(name, enabled=True)

    begin_enable = enable

    def disable(self, name: str) -> Found:
        """Keep the clock from firing it; it can still be triggered."""
        return self._switched(name, enabled=False)

    begin_disable = disable

    def trigger(self, name: str, *, parameters: Mapping[str, Any] | None = None) -> Found:
        """Fire it now, with other values where they are given: `{"inputs": {"rate": 0.1}}`; `found.job` is its job."""
        from jobs.schedules import firing
        from jobs.submit import Wishes
        from studiolo import schedule_shapes
        from studiolo.job_making import TRACKING

        wishes = Wishes(tracking=TRACKING)
        done, _ = firing.trigger(self._workspace, name, parameters, now=time.time(), wishes=wishes)
        return Found(schedule_shapes.firing(done))

    def delete(self, name: str) -> Found:
        """Remove one and its history, and return what it was; its jobs stay."""
        from jobs.schedules import store

        found = self.get(name)
        store.remove(self._workspace, name)
        return found

    begin_delete = delete

    def _switched(self, name: str, *, enabled: bool) -> Found:
        from jobs.schedules import store

        return self._shown(store.switch(self._workspace, name, enabled=enabled, now=time.time()))

    def _shown(self, record: ScheduleRecord) -> Found:
        from studiolo import schedule_shapes

        return Found(schedule_shapes.schedule(record, time.time()))
