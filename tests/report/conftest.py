"""Fixtures of run folders; tests/assets/run_folders.py writes them."""

import pytest
from run_folders import MERGED, write_failed, write_run


@pytest.fixture
def runs_root(tmp_path):
    """Two methods, with and without merging, two seeds each, as a multirun leaves them; and a failed run."""
    root = tmp_path / "outputs"
    number = 0
    for method, level in (("brecq", 1.2), ("qdrop", 1.0)):
        for merged in ((), MERGED):
            for seed in (0, 1):
                folder = root / "2025-01-01" / "12-00-00" / str(number)
                write_run(
                    folder, name=f"{method}_{seed}", method=method, merged=merged, seed=seed, level=level
                )
                number += 1
    write_failed(root / "2025-01-01" / "12-00-00" / str(number))
    return root
