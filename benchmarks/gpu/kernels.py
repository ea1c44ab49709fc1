"""Every Triton kernel against plain torch: ``tests/quant/kernels/test_gpu.py``, on the device."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import torch

from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "quant" / "kernels" / "test_gpu.py"


def measure(record: Record, options: Options) -> None:
    """Run the tests, and keep what became of each.

    Args:
        record: Takes what is found.
        options: A rehearsal runs a few of them, in Triton's interpreter.
    """
    on_gpu = options.device.type == "cuda"
    words = [sys.executable, "-m", "pytest", str(TESTS), "-q", "-p", "no:cacheprovider", "-n", "0"]
    words += ["--noconftest"]  # what other tests share needs packages that these do not
    words += [] if on_gpu else ["-k", "loss_is_that_of_torch"]
    own = {"OMP_NUM_THREADS": "1"} if on_gpu else {"TRITON_INTERPRET": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [*words, f"--junitxml={report}"],
            env={**os.environ, **own},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=max(1.0, record.left),
            check=False,
        )
        if not report.is_file():
            said = (done.stdout + done.stderr)[-1500:]
            raise RuntimeError(f"pytest has ended with {done.returncode}: {said}")
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    outcome = {case.get("name", "?"): _outcome(case) for case in cases}
    record.content["items"] |= outcome
    passed = sum(said == "passed" for said in outcome.values())
    failed = sum(said.startswith(("failure", "error")) for said in outcome.values())
    record.end(
        f"{passed} of {len(outcome)} checks hold, {failed} do not, {len(outcome) - passed - failed} are "
        f"skipped (Triton {_triton()})",
        holds=failed == 0 and passed > 0,
    )


def _outcome(case: ElementTree.Element) -> str:
    """``passed``, or what went wrong in one line."""
    for part in case:
        if part.tag in ("failure", "error", "skipped"):
            said = f"{part.get('message', '')} {part.text or ''}".replace(f"{ROOT}{os.sep}", "")
            return f"{part.tag}: {' '.join(said.split())[:600]}"
    return "passed"


def _triton() -> str:
    import triton

    return f"{triton.__version__}, torch {torch.__version__}"
