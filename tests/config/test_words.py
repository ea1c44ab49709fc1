"""Recorded words are looked through before Hydra sees them."""

import pytest

from mrecg.config.consent import Consent
from mrecg.config.words import believed
from mrecg.errors import ConfigError

FOREIGN, TRUSTED = Consent("there", given=False), Consent("there", given=True)


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.x._target_=os.system",
        "++hydra.callbacks.x={_target_: os.system}",
        "hydra={callbacks: {x: {_target_: os.system}}}",
        "hydra.launcher._target_=evil.Launcher",
        "hydra.sweeper._target_=evil.Sweeper",
        "hydra.searchpath=[file:///evil]",
        "hydra.launcher.setup=[rm -rf]",
        "hydra.launcher.python=evil",
        "hydra.launcher.ray.init.address=10.0.0.1",
        "hydra.launcher.submitit_folder=..",
        "hydra/launcher=../../evil",
        "hydra/launcher@x=evil",
        "++hydra.sweeper.params.x=choice(1,2)",
        "hydra/output=x",
        "hydra/job_logging=x",
        "hydra.job.env_copy=[SECRET]",
        "hydra.job.env_set.PYTHONPATH=evil",
        "hydra.job.chdir=true",
        "hydra.run.dir=/elsewhere",
        "hydra.output_subdir=../../elsewhere",
        "hydra.job_logging.handlers.file.filename=/elsewhere",
        "hydra.verbose=true",
    ],
)
def test_what_hydra_would_do_takes_consent(word: str) -> None:
    with pytest.raises(ConfigError, match=r"^there: would let Hydra do .*; if you trust that, add "):
        believed(["seed=1", word], FOREIGN)
    assert believed([word], TRUSTED) == [word]


@pytest.mark.parametrize(
    "word",
    [
        "name=${oc.env:SECRET}",
        "model.checkpoint='http://host/${oc.env:SECRET}.pth'",
        "name=$\\{oc.env:SECRET\\}",  # Hydra takes the backslashes away
        "name='$''{oc.env:SECRET}'",
        "name=${oc.decode:x}",
        "name=${hydra:runtime.cwd}",
        "name=${hydra.runtime.cwd}",
        "name=${now:%Y}",
        "name=${${model.name}}",
        "name=${python_version:}",
        "name=[a,{b: ${oc.env:SECRET}}]",
        "seed=choice(1,${oc.env:SECRET})",
    ],
)
def test_nothing_is_resolved_without_consent(word: str) -> None:
    with pytest.raises(ConfigError, match=r"^there: would resolve "):
        believed([word], FOREIGN)
    believed([word], TRUSTED)


@pytest.mark.parametrize(
    "word",
    [
        "experiment=../../../evil",
        "experiment=/evil/evil",
        "experiment='/evil/evil'",
        "experiment=choice(qdrop,/evil/evil)",
        "experiment=\\/evil",
        "+experiment=..",
        "sweep=../evil",
        "model@hydra.callbacks=evil",
        "schema/method=qdrop",
        "model/x=y",
        "defaults=[/evil]",
        "whatever=1",
        "=1",
        "@x=1",
    ],
)
def test_only_the_packages_own_names_are_taken_without_consent(word: str) -> None:
    with pytest.raises(ConfigError, match=r"^there: would take "):
        believed([word], FOREIGN)
    believed([word], TRUSTED)


@pytest.mark.parametrize("consent", [FOREIGN, TRUSTED])
@pytest.mark.parametrize(
    "word",
    [
        *("--config-dir=evil", "-cd", "-cp=evil", "-cn=evil", "-m", "--cfg=job", "--info", "-sc"),
        *("--experimental-rerun=evil.pickle", " -m", "resume=evil", "run=evil", "path=evil.pt2", "+run=evil"),
    ],
)
def test_flags_and_other_folders_are_never_taken(word: str, consent: Consent) -> None:
    with pytest.raises(ConfigError, match=r"^there: holds "):
        believed([word], consent)


@pytest.mark.parametrize(
    "word", ["allow_import=true", "+allow_import=true", "++allow_import=yes", "~allow_import"]
)
def test_consent_is_not_recorded(word: str) -> None:
    assert believed(["seed=1", word], FOREIGN) == ["seed=1"] == believed(["seed=1", word], TRUSTED)


def test_what_sweeps_are_made_of_needs_no_consent() -> None:
    words = [
        *("seed=0,1,2", "bits=w2a4,w4a4", "method=choice(qdrop,brecq)", "trainer.lr_factor=range(1,4)"),
        *("hydra/launcher=processes", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=4"),
        *("model.arguments={classes:3}", "++model.arguments.x=y", "data.calibration_path=/a/b c/d"),
        *("name=mine-${seed}", "experiment=demo", "sweep=seeds", "~sweep", "resume=auto", "shared.folder=/x"),
        *("granularity.groups=[[a,b],[c]]", "model.target=mine.Net", "hydra/sweeper=search", "cache=small"),
    ]
    assert believed(words, FOREIGN) == words
