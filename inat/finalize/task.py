"""What is to be finalized: the study, its best configurations, the photographs; checked before anything is trained."""

from dataclasses import dataclass, replace
from typing import Any

from ray import tune

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.trial import DataConfig, TrialConfig
from inat.data.splits import DataSummary, Splits, inspect_data, load_splits
from inat.errors import ConfigError, StudyError
from inat.finalize.candidates import run_params, top_configurations
from inat.finalize.options import FinalizeCommand, settings_of
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.provenance import study_info
from inat.tuning.space import backbone_checks
from inat.tuning.worker.trainable import FINGERPRINT


@dataclass(frozen=True, slots=True)
class Task:
    """``trials`` are the best ones of ``study``, with different configurations; ``configs`` are what they train."""

    command: FinalizeCommand
    study: Study
    config: SearchConfig
    trials: list[Trial]
    configs: list[TrialConfig]
    data: DataSummary
    info: dict[str, Any]

    @property
    def wanted(self) -> list[dict[str, Any]]:
        """The trainings: all seeds of a configuration, then those of the next, so that kept features are shared."""
        return [run_params(trial, seed) for trial in self.trials for seed in range(1, self.command.seeds + 1)]

    def config_of(self, trial: Trial) -> TrialConfig:
        """What one of ``trials`` trains."""
        return self.configs[self.trials.index(trial)]

    def test_data(self, trial: Trial) -> DataConfig:
        """The photographs as the model of one of ``trials`` sees them."""
        return replace(self.config_of(trial).data, use_augmentation=False)

    def splits_of(self, trial: Trial) -> Splits:
        """The three splits of the photographs at the size that one of ``trials`` sees."""
        return load_splits(self.test_data(trial))


def plan(command: FinalizeCommand, study: Study) -> Task:
    """Check all that can be wrong and decode the photographs; an InatError says what to mend.

    SearchError if no trial has a result, ConfigError for more configurations than there are and for weights that are
    not to be had, DataError for photographs that are missing, StudyError for others than the study's.
    """
    config = settings_of(study.info, command)
    trials = top_configurations(study, command.top)
    known = study.info.get("data")
    if not isinstance(known, dict) or FINGERPRINT not in known:
        raise StudyError(f"study.json of {study.directory} does not say which photos it is of; restore it from a copy")
    data = inspect_data(config.data_config())
    if data.fingerprint != known[FINGERPRINT]:
        raise StudyError(
            f"the photos in {config.data} are not those that {study.directory} was made with; restore them, or pass "
            "--data with the place they moved to"
        )
    weights = _weights(config, study, trials, data)
    if config.compile:
        from inat.training.precision import check_compiler

        check_compiler()
    configs = [_config_of(trial, config, study) for trial in trials]
    for trial_config in configs:
        load_splits(trial_config.data)  # decodes the photographs now, before any training waits for them
    info = study_info(config, {}, data) | {backbone_checks.WEIGHTS: weights, "retrains": study.directory.name}
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
    try:
        params = config.trial_settings() | run_params(trial, 1) | {FINGERPRINT: study.info["data"][FINGERPRINT]}
        return TrialConfig.from_params(params)
    except ConfigError as error:
        raise StudyError(f"trial {trial.trial_id} of {study.directory} cannot be trained again: {error}") from error
