"""Code that a folder or a file names is run only where the user has said so."""

import json
import re
import sys
from pathlib import Path

import pytest

from mrecg.cli.sweep import main as sweep
from mrecg.config.consent import Consent, takes_consent
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError


def model(target: str) -> dict[str, object]:
    return {"source": "target", "target": target, "name": "x", "input_shape": (3, 8, 8)}


@pytest.mark.parametrize(
    "target",
    [
        "torchvision.models.resnet18",
        "torchvision.models.mnasnet.mnasnet1_0",
        "mrecg.models.cifar.resnet20",
        "torchvision.models.MNASNet",
        "torchvision.models.mobilenet_v2",
        "timm.models.efficientnet.tf_efficientnet_lite0",
    ],
)
def test_definitions_of_known_packages_need_no_consent(target: str) -> None:
    config = run_config({"model": model(target)})
    Consent("there", given=False).to(config.model, config.data)
    assert not takes_consent(config)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torchvision.ops.nms",  # not a definition
        "torchvision.modelsx.evil",
        "torchvision.models._api.partial",  # what a definition's file has imported
        "torchvision.models._utils.OrderedDict",
        "torchvision.models._utils.handle_legacy_interface",  # its own, but no definition
        "timm.models.load_state_dict",  # reads a file, with code if its arguments say so
        "mrecg.models.checkpoint.load_checkpoint",
    ],
)
def test_everything_else_does(target: str) -> None:
    config = run_config({"model": model(target)})
    said = r"^there: would import and run model\.target=.*add allow_import=true$"
    with pytest.raises(ConfigError, match=said):
        Consent("there", given=False).to(config.model, config.data)
    Consent("there", given=True).to(config.model, config.data)
    assert takes_consent(config)


@pytest.mark.parametrize("part", ["calibration_dataset", "evaluation_dataset"])
def test_data_sets_do(part: str) -> None:
    config = run_config(
        {"data": {"source": "dataset", "calibration_dataset": "evil.make", part: "evil.make"}}
    )
    with pytest.raises(ConfigError, match=r"data\.\w+_dataset=evil\.make"):
        Consent("there", given=False).to(None, config.data)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"model": {"checkpoint": "https://host/a.pth"}}, "connect to model.checkpoint=https://host/a.pth"),
        ({"model": {"checkpoint": "http://user@host/a.pth"}}, "connect to model.checkpoint="),
        ({"model": {"checkpoint": "ftp://host/a.pth"}}, "connect to model.checkpoint="),
        ({"logger": {"wandb": "online", "entity": "somebody"}}, "send its curves to W&B"),
        ({"model": {"source": "timm", "name": "x", "arguments": {"model_name": "hf-hub:a/b"}}}, "model_name"),
        (
            {
                "model": {
                    "source": "timm",
                    "name": "x",
                    "arguments": {"pretrained_cfg": {"file": "/etc/passwd"}},
                }
            },
            "pretrained_cfg",
        ),
    ],
)
def test_connections_and_files_of_a_definition_do(values: dict[str, object], what: str) -> None:
    config = run_config(values)
    with pytest.raises(ConfigError, match=re.escape(what)):
        Consent("there", given=False).to_run(config)
    Consent("there", given=True).to_run(config)
    Consent("there", given=False).to_run(config, run_config({}))  # typed, over a run that asks for nothing
    assert takes_consent(config)


@pytest.mark.parametrize("checkpoint", ["a.pth", "/x/a.pth", "file:///x/a.pth", "pkg://package/a.pth"])
def test_files_of_this_machine_do_not(checkpoint: str) -> None:
    assert not takes_consent(run_config({"model": {"checkpoint": checkpoint}}))


def test_a_foreign_sweep_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "evil_model.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["model=target", "model.target=evil_model.build", "model.name=x", "model.input_shape=[3,8,8]"]
    manifest = {
        "schema_version": 1,
        "command": "",
        "verb": "quantize",
        "arguments": [*words, "seed=0,1"],
        "jobs": [],
    }
    Path("theirs").mkdir()
    Path("theirs/sweep.json").write_text(json.dumps(manifest))
    said = r"^theirs: would import and run model\.target=evil_model\.build.*--allow-import$"
    with pytest.raises(ConfigError, match=said):
        sweep(["resume", "theirs"])
    assert not (tmp_path / "ran").exists() and "evil_model" not in sys.modules
