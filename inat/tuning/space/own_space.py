"""The search space of a user's own network: the domains in its file, and the training of a preset or a space file."""

import difflib
from collections.abc import Mapping
from typing import Any

from inat.config.backbones import STRATEGIES
from inat.config.optim import NO_WEIGHTS, OptimConfig
from inat.config.own_model import OWN_FIELDS, read_model_file
from inat.config.search import SearchConfig
from inat.config.trial import INACTIVE_WHEN, TRAINING_NAMES, TrialConfig
from inat.config.validation import raise_if_any
from inat.constants import HISTORY_COLUMNS, TRIAL_COLUMNS_AFTER, TRIAL_COLUMNS_BEFORE
from inat.errors import ConfigError
from inat.models.own_code import OwnCode, code_error, own_code
from inat.tuning.space.domains import as_domain

STAGE_NAMES = ("strategy", "k_layers")  # of a space for a network with stages
BODY_LR_FACTOR = "body_lr_factor"
OF_STAGES = {"layer_decay", "drop_path", "grad_checkpointing"}  # settings that other networks do not have
COLUMNS = {*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER, *HISTORY_COLUMNS, "trial", "backbone"}
OPTIM_NAMES = frozenset(OptimConfig.__dataclass_fields__)
# What counts for a LightningModule, which has its own loss and optimizer.
MODULE_NAMES = TRAINING_NAMES - OPTIM_NAMES | {"batch_size", "balanced_sampler"}


def code_named_by(config: SearchConfig) -> OwnCode:
    """The functions of the file of --model, which the caller has allowed to run."""
    assert config.model is not None
    file = read_model_file(config.model)
    return own_code(file.sha256, file.function, file.label)


def own_space(config: SearchConfig, others: Mapping[str, Any], *, preset: bool) -> dict[str, Any]:
    """The space of a search over a network of the user.

    ``others`` is the space of a preset, of which only the training counts, or that of a --space file, whose domains win
    over those in the file of the network. Raises ConfigError, with every mistake, for names that are neither an
    argument of the network nor of the training, and for arguments that have no value.
    """
    code = code_named_by(config)
    raise_if_any(_reserved_name_errors(code))
    if code.is_module and config.class_weights != NO_WEIGHTS:
        raise ConfigError(_unknown_error("class_weights", code, set()))
    training = _training_names(config, code)
    if preset:
        own = _space_in(code)
        # The network first: a grid then tries one network after the other, and trials that share features together.
        space = {name: domain for name, domain in own.items() if name not in training}
        space |= {name: domain for name, domain in others.items() if name in training} | own
    else:
        space = _space_in(code) | dict(others)
    raise_if_any(_name_errors(space, code, training) + _missing_value_errors(space, code))
    return space


def _training_names(config: SearchConfig, code: OwnCode) -> set[str]:
    """The names in a space that are about the training, not about the network."""
    if code.is_module:
        return MODULE_NAMES | (OPTIM_NAMES & code.arguments.keys())
    staged = code.stages is not None and config.KIND == "finetune"
    return TRAINING_NAMES | {*STAGE_NAMES, BODY_LR_FACTOR} if staged else TRAINING_NAMES - OF_STAGES


def _space_in(code: OwnCode) -> dict[str, Any]:
    """The domains that ``space()`` of the file returns; {} without one."""
    if code.space is None:
        return {}
    try:
        space = code.space()
    except (Exception, SystemExit) as error:
        raise ConfigError(code_error(code.file, "space()", error)) from error
    if not isinstance(space, Mapping) or not all(isinstance(name, str) for name in space):
        raise ConfigError(
            f"space() of {code.file.path} must return a dict of hyperparameters, got {type(space).__name__}"
        )
    return {name: as_domain(value) for name, value in space.items()}


def _reserved_name_errors(code: OwnCode) -> list[str]:
    """A message for each argument whose name has another meaning."""
    training = TRAINING_NAMES - (OPTIM_NAMES if code.is_module else set())
    others = OWN_FIELDS | COLUMNS | set(STAGE_NAMES) | TrialConfig.__dataclass_fields__.keys()
    problems = [
        f"{code.name} has an argument {name}, which is the name of a setting or of a column of the study; rename it"
        for name in code.arguments if name in training or name in others
    ]  # fmt: skip
    for decider, _, _, dependents in INACTIVE_WHEN:
        if both := [name for name in dependents if {name, decider} <= code.arguments.keys() - OPTIM_NAMES]:
            problems.append(
                f"{code.name} has arguments {decider} and {', '.join(both)}, which mean the CNN of this program; "
                "rename one of them"
            )
    return problems


def _name_errors(space: Mapping[str, Any], code: OwnCode, training: set[str]) -> list[str]:
    """A message for each hyperparameter that neither the network nor its training has."""
    if code.any_argument:
        return []
    known = training | code.arguments.keys()
    unknown = [name for name in space if name not in known]
    return [_unknown_error(name, code, known) for name in unknown]


def _unknown_error(name: str, code: OwnCode, known: set[str]) -> str:
    if name in STAGE_NAMES:
        return f"{name} needs a function stages(model) in {code.file.path}, and tune_finetune.py; remove or define it"
    if name in OPTIM_NAMES and code.is_module:
        return f"{name} has no effect: {code.name} trains itself; add it to the arguments of its __init__, or remove it"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(code.arguments) or 'settings of it'}"
    return f"{name} is no argument of {code.name} and no setting of the training; {hint}"


def _missing_value_errors(space: Mapping[str, Any], code: OwnCode) -> list[str]:
    """A message for each argument that has neither a default nor a domain."""
    given = OPTIM_NAMES if code.is_module else frozenset()
    missing = [name for name in code.required if name not in space and name not in given]
    return [f"{code.name} needs a value of {name}; give it a default, or a domain in space()" for name in missing]


def strategies_of(space: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each strategy in a space, freeze_partial with each number of stages; [] for a network without stages."""
    if "strategy" not in space:
        return []
    chosen = space["strategy"].categories
    numbers = space["k_layers"].categories if "k_layers" in space else [None]
    return [(name, k) for name in chosen for k in (numbers if name == STRATEGIES[1] else [None])]
