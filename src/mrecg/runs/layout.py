"""The files of a run folder and of a sweep's folder, and the states of a run: each is spelt here alone."""

SUMMARY = "summary.json"
"""The results of the run and the settings that decide them. A folder with this file is a run folder."""
CONFIG = "config.yaml"
"""Every setting of the run with the value that it had."""
ENVIRONMENT = "environment.json"
"""Versions of packages, the machine, and the command line."""
PLAN = "plan.json"
"""The units, the groups in which they were optimised, and the numbers that decided it."""
IMAGES = "images.json"
"""Which images were drawn for calibration and for evaluation."""
WEIGHTS_ORIGIN = "weights.json"
"""Where the full-precision weights come from, and which tensor of their file each of the model's is."""
WEIGHTS = "quantized.safetensors"
"""The quantized network: its integers, scales and structure."""
UNITS = "units.csv"
"""Error and loss after each unit, one row per unit, written during the run."""
FINISHING = "finishing.csv"
"""The curve of the finishing stage. The file is there only if finish=network."""
SENSITIVITY = "sensitivity.json"
"""From `mrecg sensitivity`: what quantizing each unit and each layer alone does."""
SENSITIVITY_TABLE = "sensitivity.csv"
"""The same numbers as a table, one row per measurement."""
SENSITIVITY_PICTURES = ("sensitivity.png", "sensitivity.svg")
"""A picture of them."""
CURVES = "curves"
"""A folder with the optimisation curve of each group, as a CSV file named after the group; in a second pass
over the groups (method=brecq), `GROUP.PASS.csv`."""
DECISIONS = "decisions.csv"
"""The label of each evaluation image and the decisions of both networks, one row per image. The file is there
only where accuracy was measured."""
DECISION_COLUMNS = {
    "label": "The index of the class that the image has.",
    "fp": "The index of the class that the full-precision network decides for.",
    "quantized": "The index of the class that the quantized network decides for.",
}
"""Its columns."""
PAGE = "report.html"
"""The report: of the run alone, or in a sweep's folder of all its runs."""
LOG = "run.log"
"""The messages of the run with their times, written on the command line."""
EXPORTED = {"onnx": "quantized.onnx", "onnx_int8": "quantized-int8.onnx", "pt2": "quantized.pt2"}
"""From `mrecg export`, in the run folder: the network in the format with that name."""
EXPORTS = "export.json"
"""From `mrecg export`, in the run folder: the size of each file that was written and how well it agrees with
the network, and under `failed` why a format could not be written."""
EVALUATION = "evaluation.json"
"""From `mrecg evaluate`: `what` was measured, `top1` and `top5` as fractions, and the number of `images`."""
PLAN_PICTURES = ("plan.png", "plan.svg")
"""From `mrecg plan pictures=true`: the plan as a picture, next to plan.json."""
CHECKPOINT = "checkpoint"
"""A folder with what an unfinished run resumes from. It is removed when the run is complete."""
LOCK = "run.lock"
"""A file that the process working in the folder holds locked. It may be deleted after the run."""
WANDB = "wandb"
"""A folder with W&B's own files, unless logger=csv."""
HYDRA = ".hydra"
"""A folder in which Hydra keeps the command line's settings."""
MANIFEST = "sweep.json"
"""The jobs of the sweep: number, folder, settings and identity of each, and the command that started it."""
SWEEP_LOCK = "sweep.lock"
"""A file that the process running the sweep holds locked. It may be deleted after the sweep."""
MULTIRUN = "multirun.yaml"
"""What Hydra keeps of the sweep's command line."""
JOURNAL = "optuna.journal"
"""The trials of a search by Optuna, from which it continues."""
DASHBOARD = "dashboard.json"
"""From `mrecg dashboard`: the specification of the W&B workspace and report."""

OPENED = (LOG, UNITS, FINISHING, MULTIRUN, JOURNAL)
"""Files that are opened by their name, not replaced."""
FOLDERS = (CURVES, HYDRA, CHECKPOINT, WANDB)
"""Folders that a run writes into. W&B has links of its own in its folder, and writes to new names there."""

COMPLETED, FAILED = "completed", "failed"
"""How a run ended, as its summary says."""
RUNNING, OPEN = "running", "open"
"""A run without a summary that is in progress, or is not: it has not begun, or was interrupted."""
