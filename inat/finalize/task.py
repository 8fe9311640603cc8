"""What to finalize: the study, its best configurations and the images, all checked before anything trains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray import tune

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.trial import DataConfig, TrialConfig
from inat.constants import CLASS_COUNTS, OWN_OBJECTIVE
from inat.data.class_balance import class_counts
from inat.data.splits import DataSummary, Splits, inspect_data, load_splits
from inat.errors import ConfigError, StudyError
from inat.finalize.candidates import epochs_of_run, run_params, top_configurations
from inat.finalize.last_params import with_last_params
from inat.finalize.options import FinalizeCommand, retraining_config
from inat.study.cheaper import CostRule
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.own_model import allow_own_model, check_model, model_info
from inat.tuning.provenance import study_info
from inat.tuning.rules import RULES
from inat.tuning.space import backbone_checks
from inat.tuning.space.names import hyperparameters
from inat.tuning.worker.trainable import FINGERPRINT


@dataclass(frozen=True, slots=True)
class Task:
    """The plan of one ``inat.finalize`` call.

    ``trials`` are the best trials of ``study``, one per configuration, best first; the one that a last training
    repeated has the hyperparameters of the last training (see ``with_last_params``). ``configs`` holds the training
    configuration of each, in the same order. ``info`` becomes the study.json of the retraining.
    """

    command: FinalizeCommand
    study: Study
    config: SearchConfig
    trials: list[Trial]
    configs: list[TrialConfig]
    data: DataSummary
    info: dict[str, Any]

    @property
    def wanted(self) -> list[dict[str, Any]]:
        """Parameters of each run; all seeds of a configuration come together, so they share its cached features."""
        return [run_params(trial, seed) for trial in self.trials for seed in range(1, self.command.seeds + 1)]

    @property
    def rule(self) -> CostRule:
        """What a configuration costs in the search, and whether a cheaper one is preferred."""
        return CostRule.of(self.study.info)

    def epoch_cost(self, params: Mapping[str, Any]) -> float:
        """What an epoch of a run with ``params`` costs, in epochs of the recipe; 1 in most studies."""
        return next(trial.epoch_cost for trial in self.trials if trial.params.items() <= params.items())

    def config_of(self, trial: Trial) -> TrialConfig:
        """The training configuration of one of ``trials``."""
        return self.configs[self.trials.index(trial)]

    def test_data(self, trial: Trial) -> DataConfig:
        """The data configuration to evaluate one of ``trials``: its image size, no augmentation."""
        return replace(self.config_of(trial).data, use_augmentation=False)

    def splits_of(self, trial: Trial) -> Splits:
        """The three splits at the image size of one of ``trials``."""
        return load_splits(self.test_data(trial))


def plan(command: FinalizeCommand, study: Study) -> Task:
    """Check everything that can be wrong, and decode the images.

    Raises SearchError if no trial has a result; ConfigError if --top exceeds the number of configurations, or if
    pretrained weights are not available; DataError if images are missing; StudyError if the images or the weights
    differ from the study's.
    """
    if own := study.info.get(OWN_OBJECTIVE):
        raise StudyError(
            f"{study.directory} is a study of the Python function {own}; only networks of this program can be trained "
            "again here, so train its best configuration with that function"
        )
    config = retraining_config(study.info, command)
    check_model(study.directory, study.info, config)
    allow_own_model(config)
    trials = with_last_params(study, top_configurations(study, command.top))
    known = study.info.get("data")
    if not isinstance(known, dict) or FINGERPRINT not in known:
        raise StudyError(
            f"study.json of {study.directory} does not identify the photos of the study; restore it from a backup"
        )
    data = inspect_data(config.data_config())
    if data.fingerprint != known[FINGERPRINT]:
        raise StudyError(
            f"the photos in {config.data} differ from the photos that {study.directory} was made with; restore them, "
            "or pass --data with the folder that they moved to"
        )
    weights = _weights(config, study, trials, data)
    if config.compile:
        from inat.training.compiling import check_compiler

        check_compiler()
    configs = [_config_of(trial, config, study) for trial in trials]
    for trial_config in configs:
        load_splits(trial_config.data)  # decodes the images now, so no run waits for them
    counts = class_counts(load_splits(configs[0].data))
    info = study_info(config, {}, data) | {
        CLASS_COUNTS: counts,
        backbone_checks.WEIGHTS: weights,
        **model_info(config),
        "retrains": study.directory.name,
        RULES: study.info.get(RULES, {}),
    }
    return Task(command, study, config, trials, configs, data, info)


def _weights(config: SearchConfig, study: Study, trials: list[Trial], data: DataSummary) -> dict[str, str]:
    backbones = list(dict.fromkeys(trial.params["backbone"] for trial in trials if "backbone" in trial.params))
    if not backbones or not isinstance(config, FinetuneConfig):
        return {}
    found = backbone_checks.check_backbones(config, {"backbone": tune.choice(backbones)}, data)
    known = {name: sha for name, sha in study.info.get(backbone_checks.WEIGHTS, {}).items() if name in found}
    backbone_checks.check_weights_unchanged(known, found)
    return found


def _config_of(trial: Trial, config: SearchConfig, study: Study) -> TrialConfig:
    # The files of a study may be somebody else's: no trial decides about settings that all share, such as its code.
    space = study.info.get("space")
    chosen = hyperparameters(space if isinstance(space, dict) else trial.params, config)
    if others := sorted(trial.params.keys() - chosen):
        raise StudyError(
            f"trial {trial.trial_id} of {study.directory} cannot be trained again: its search has not chosen "
            f"{', '.join(others)}; restore the study from a copy"
        )
    try:
        params = config.trial_settings() | run_params(trial, 1) | {FINGERPRINT: study.info["data"][FINGERPRINT]}
        return TrialConfig.from_params(params | epochs_of_run(config.max_epochs, trial.epoch_cost))
    except ConfigError as error:
        raise StudyError(f"trial {trial.trial_id} of {study.directory} cannot be trained again: {error}") from error
