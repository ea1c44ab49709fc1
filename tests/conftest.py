"""How tests are divided among processes; what they share is in tests/assets/shared_fixtures.py.

Tests of one file run in one process, in their order, because they share what its fixtures make. A test marked
`xdist_group` runs with those of its group instead, wherever they stand.
"""

import os
from typing import Any

import pytest

MOST_PROCESSES = 8
"""Each takes more than one gigabyte of memory."""


def pytest_configure(config: pytest.Config) -> None:
    """Load what tests share; not where all tests run in other processes, because it takes seconds."""
    if hasattr(config, "workerinput") or getattr(config.option, "dist", "no") == "no":
        config.pluginmanager.import_plugin("shared_fixtures")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Take every processor that is ours (``-n auto``)."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(ours, MOST_PROCESSES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep groups together and, other than xdist itself, also the files (``--dist loadgroup``)."""
    if config.option.dist != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByGroupOrFile(LoadGroupScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return nodeid.split("::", 1)[0] if scope == nodeid else scope

    return ByGroupOrFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of a group follow each other; groups, which take longest, come before the files."""
    first: dict[str, tuple[bool, int]] = {}

    def place(item: pytest.Item) -> tuple[bool, int]:
        mark = item.get_closest_marker("xdist_group")
        group = str(mark.args[0]) if mark else str(item.path)
        return first.setdefault(group, (mark is None, len(first)))

    places = {item: place(item) for item in items}
    items.sort(key=places.__getitem__)
