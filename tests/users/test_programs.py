import json
import shutil
from pathlib import Path

import pytest

from tests.users.conftest import Home

pytestmark = pytest.mark.timeout(1800)  # whole programs, on machines that do other work, too
PLUGIN = Path(__file__).parents[2] / "docs" / "plugin" / "mrecg_example.py"
OWN = ("-cd", "settings", "experiment=mine")
LARGE = ("lightning", "wandb", "torchmetrics", "matplotlib", "pandas", "scipy", "numba", "plotly", "onnx")
PLAN = f"""
import sys
from mrecg.cli.main import main
try:
    main(["plan", "planner=modcap", "model=resnet18", "model.weights=null"])
except SystemExit as ended:
    sys.stderr.write(f"code {{ended.code}}, loaded {{[name for name in {LARGE} if name in sys.modules]}}")
"""


def test_a_plan_loads_no_large_package_that_it_does_not_use(home: Home) -> None:
    ended = home.python(PLAN)
    assert ended.err.endswith("code 0, loaded []"), ended.err
    assert "10 units in" in ended.out and "cost: about" in ended.out
    small = home.python("import sys, mrecg; print([n for n in ('torch', 'hydra') if n in sys.modules])")
    assert small.out == "[]\n"


@pytest.fixture(scope="module")
def run(home: Home) -> str:
    """A run with everything of the user's own; then what an interruption would have left of it."""
    ended = home.mrecg("quantize", *OWN, "hydra.run.dir=runs/one")
    assert ended.code == 0, ended.err
    assert "cost: about" in ended.err and ended.err.index("cost: about") < ended.err.index("reconstruct:")
    return "runs/one"


@pytest.mark.slow
def test_a_run_with_an_own_config_folder_resumes_without_it(home: Home, run: str) -> None:
    before = home.summary(run)
    (home.folder / run / "summary.json").unlink()
    ended = home.mrecg("quantize", f"resume={run}", "allow_import=true")
    assert ended.code == 0, ended.err
    assert home.summary(run)["quantized"] == before["quantized"]


@pytest.mark.slow
def test_a_sweep_with_an_own_config_folder_resumes_without_it(home: Home) -> None:
    ended = home.mrecg("quantize", *OWN, "sweep=two", "hydra.sweep.dir=runs/two")
    assert ended.code == 0 and "all 2 jobs are done" in ended.out, ended.err
    (first,) = (home.folder / "runs" / "two").glob("0-*")
    shutil.rmtree(first)
    again = home.mrecg("sweep", "resume", "runs/two", "--allow-import")
    assert again.code == 0 and (first / "summary.json").is_file(), again.err


@pytest.mark.slow
def test_the_exported_file_runs_in_plain_onnxruntime(home: Home, run: str) -> None:
    pytest.importorskip("onnxruntime")
    ended = home.mrecg("export", run, "format=onnx", "allow_import=true")
    assert ended.code == 0, ended.err
    ended = home.python(f"""
        import numpy, onnxruntime
        from mine import Images
        images = Images()
        session = onnxruntime.InferenceSession("{run}/quantized.onnx")
        (name,) = (value.name for value in session.get_inputs())
        (logits,) = session.run(None, {{name: images.images.numpy()}})
        print(sum(int(logits[i].argmax()) == images[i][1] for i in range(len(images))) / len(images))
        """)
    assert ended.code == 0, ended.err
    quantized = home.summary(run)["quantized"]
    assert isinstance(quantized, dict) and float(ended.out) == pytest.approx(quantized["top1"])


@pytest.mark.slow
def test_summaries_are_a_table_of_pandas(home: Home, run: str) -> None:
    pytest.importorskip("pandas")
    ended = home.python("""
        import json, pathlib
        import pandas as pd
        found = [json.loads(path.read_text()) for path in pathlib.Path("runs/one").glob("summary.json")]
        table = pd.json_normalize(found)
        print(json.dumps([len(table), table["quantized.top1"][0], table["method"][0]]))
        """)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)[0] == 1 and json.loads(ended.out)[2] == "adaround"


@pytest.mark.slow
def test_a_method_of_another_package_is_chosen_by_its_name(home: Home, tmp_path: Path) -> None:
    shutil.copy(PLUGIN, tmp_path)
    about = tmp_path / "mrecg_example-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mrecg-example\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mrecg.methods]\ntwo_pass = mrecg_example\n")
    home.install(tmp_path)
    ended = home.mrecg("quantize", *OWN, "method=two_pass", "hydra.run.dir=runs/plugin")
    assert ended.code == 0, ended.err
    assert home.summary("runs/plugin")["method"] == "two_pass"


@pytest.mark.slow
def test_a_script_quantizes_an_own_network_and_saves_it(home: Home) -> None:
    ended = home.python("""
        import torch, mrecg
        from mine import Images, Net
        images = Images()
        result = mrecg.quantize(
            Net().eval(), images.images, evaluation=images, weight_bits=4, activation_bits=8,
            method="adaround",
            trainer={"steps": 2, "batch_size": 4, "threads": 1}, planner={"name": "modcap", "merge_count": 0},
            save_to="runs/script",
        )
        again = mrecg.load("runs/script", model=Net())
        same = torch.equal(again.model(images.images), result.model(images.images))
        print(sorted(result.summary["quantized"]), same)
        """)
    assert ended.code == 0, ended.err
    assert "top1" in ended.out and ended.out.split()[-1] == "True"
    assert (home.folder / "runs" / "script" / "report.html").is_file()


@pytest.mark.slow
def test_a_notebook_runs(home: Home) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = ["import mrecg, mine", "plan = mrecg.plan(mine.Net())", "print(len(plan.units))"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=200, resources={"metadata": {"path": home.folder}}).execute()
    assert int(book.cells[-1].outputs[0].text) > 0


MISSING = """
import sys
sys.modules.update(dict.fromkeys({modules}))
from mrecg.cli.main import main
main({words})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("onnxscript", ["export", "runs/one", "format=onnx", "allow_import=true"], "export"),
        ("timm", ["plan", "model=timm", "model.name=resnet10t"], "timm"),
        ("optuna", ["quantize", "sweep=search"], "optuna"),
    ],
)
def test_what_is_not_installed_is_one_line_with_the_extra(
    home: Home, run: str, module: str, words: list[str], extra: str
) -> None:
    ended = home.python(MISSING.format(modules=[module], words=words))
    assert ended.code == 2, ended.err
    assert ended.err.splitlines()[-1].startswith("mrecg: ") and f"pip install 'mrecg[{extra}]'" in ended.err
