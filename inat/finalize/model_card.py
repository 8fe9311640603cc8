"""MODEL_CARD.md, made from metrics.json alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.escaping import escape_markdown, escape_markdown_line
from analysis.test_scores import accuracy_interval, describe_calibration
from inat.config.timm_names import is_timm
from inat.constants import CONSTANT_ACC, SHIPPED_CKPT
from inat.finalize.latency import describe_latency

Json = Mapping[str, Any]
NO_LICENCE = (
    "not stated. A model trained on photos may be bound by their licences: check these before you publish it. "
    "`--licence` writes your licence here."
)


class Markdown(str):
    """A cell of a table with markup of this module; other cells are escaped."""


def model_card(metrics: Json) -> str:
    """The model card in Markdown."""
    parts = (
        _head,
        _use,
        _data,
        _training,
        _choice,
        _test,
        _per_class,
        _confusions,
        _calibration,
        _exports,
        _ensemble,
        _shipped,
    )
    return "\n".join(line for part in parts for line in part(metrics))


def _head(m: Json) -> Iterator[str]:
    test, backbone = m["test"], m["model"]["config"].get("backbone")
    yield f"# {escape_markdown(m['winner']['name'])}\n"
    yield (
        f"An image classifier for {len(m['data']['classes'])} classes. Test accuracy **{test['accuracy']:.4f}** "
        f"(95 % interval {_interval(accuracy_interval(test))}) on {test['images']} held-out images; "
        f"a constant answer scores {_number(test.get(CONSTANT_ACC))}.\n"
    )
    yield f"Licence: {m['licence'] or NO_LICENCE}\n"
    if backbone and m["model"]["config"].get("weights") != "none":
        name = escape_markdown(backbone)
        whose = "timm's published weights" if is_timm(backbone) else "torchvision's ImageNet weights"
        yield f"Training started from {whose} of {name}; their licence applies too.\n"


def _use(m: Json) -> Iterator[str]:
    own = m["model"]["config"].get("model")
    yield "## Use\n"
    if own:
        yield (
            f"The network is {escape_markdown(own)}, a Python file with SHA-256 "
            f"`{m['model']['config']['model_sha256']}`, which the commands of this project need, too; the other "
            "formats do not.\n"
        )
    yield (
        f"`python -m inat.predict model.ckpt PHOTO...{_own_option(m)}` prepares photos as in the training: "
        f"{m['data']['resize']}. Every photo is assigned one of these classes, even if it shows none of them: "
        f"{', '.join(map(escape_markdown, m['data']['classes']))}.\n"
    )


def _own_option(m: Json) -> str:
    own = m["model"]["config"].get("model")
    return f" --model {str(own).rpartition(':')[0]}" if own else ""


def _data(m: Json) -> Iterator[str]:
    data = m["data"]
    yield "## Data\n"
    splits = [(name, f"{count:,} images") for name, count in data["splits"].items()]
    facts = [("source", data["source"]), ("fingerprint", Markdown(f"`{data['fingerprint']}`"))]
    yield from _table(("", ""), [*facts, *splits, ("image size", f"{data['image_size']} px")])
    yield "The validation split is a stratified part of the training photos, the same for every run.\n"


def _training(m: Json) -> Iterator[str]:
    model = m["model"]
    yield "## Configuration\n"
    yield from _table(("setting", "value"), sorted(model["config"].items()))
    yield (
        f"Seed {model['seed']}. The weights are those of epoch {model['best_epoch']} of {model['epochs']}, the best on "
        f"the validation split. Checkpoint SHA-256 `{model['sha256']}`.\n"
    )


def _choice(m: Json) -> Iterator[str]:
    winner, model, search, objective = m["winner"], m["model"], m["search"], m["objective"]
    yield "## How it was chosen\n"
    count, seeds = len(m["candidates"]), "seed 1" if m["seeds"] == 1 else f"seeds 1 to {m['seeds']}"
    candidates = (
        "The candidate is the best configuration"
        if count == 1
        else f"The candidates are the {count} best configurations"
    )
    trials = "1 trial" if search["trials"] == 1 else f"{search['trials']} trials"
    each = "" if count == 1 else "each "
    yield f"{candidates} of a search of {trials}, {each}retrained with {seeds}. {m['rule']}\n"
    header = ("candidate", "in the search", "mean over seeds", "sd", "n", f"{objective['label']} per seed")
    rows = [_candidate_row(c, objective, c["trial_id"] == winner["trial_id"]) for c in m["candidates"]]
    yield from _table(header, rows)
    yield "\n\n".join(winner["in_words"]) + "\n"
    yield (
        f"The model is the run with seed {model['seed']}: its {objective['label']}, "
        f"{model[objective['best_column']]:.4f}, {_which(winner['n'])}\n"
    )


def _which(runs: int) -> str:
    return "is that of its only run." if runs == 1 else f"is the median of the winner's {runs} runs, not the best."


def _candidate_row(candidate: Json, objective: Json, won: bool) -> tuple[str, ...]:
    name = f"{candidate['trial_id']} {candidate['name']}"
    scores = ", ".join(f"{run[objective['best_column']]:.4f}" for run in candidate["runs"])
    numbers = (_number(candidate[key]) for key in (objective["search_column"], "mean", "sd"))
    return (Markdown(f"**{escape_markdown(name)}**") if won else name, *numbers, str(candidate["n"]), scores)


def _test(m: Json) -> Iterator[str]:
    test = m["test"]
    yield "## Scores on the test split\n"
    yield m["evaluations_in_words"] + "\n"
    plain = ("balanced_accuracy", "macro_f1", "loss", CONSTANT_ACC)
    names = (
        "balanced accuracy (mean recall)",
        "macro F1",
        "cross entropy",
        "accuracy of a constant answer: the class that is most frequent in training",
    )
    yield from _table(("score", "value", "95 % interval"), [
        ("accuracy", _number(test["accuracy"]), _interval(test["accuracy_interval"])),
        ("top-2 accuracy", _number(test["top2_accuracy"]), _interval(test["top2_interval"])),
        *((name, _number(test.get(key)), "") for name, key in zip(names, plain, strict=True)),
    ])  # fmt: skip
    yield (
        f"Intervals: {test['interval']}. They show how much the score may change with another sample of test images, "
        f"not with another training. The scores were computed in the precision of the training, {test['arithmetic']}; "
        "another precision, such as the float32 of the other formats, may change the prediction of single images.\n"
    )


def _per_class(m: Json) -> Iterator[str]:
    header = ("class", "precision", "recall", "recall, 95 % (Wilson)", "F1", "images")
    yield from _table(header, [
        (
            row["class"], _number(row["precision"]), _number(row["recall"]), _interval(row["recall_interval"]),
            _number(row["f1"]), row["support"],
        )
        for row in m["test"]["per_class"]
    ])  # fmt: skip


def _confusions(m: Json) -> Iterator[str]:
    yield "## Known confusions\n"
    found = m["test"]["confusions"]
    for row in found:
        true, predicted = escape_markdown_line(row["true"]), escape_markdown(row["predicted"])
        yield f"- {true} predicted as {predicted}: {row['images']} of {row['of']} images"
    yield "" if found else "None in the test split.\n"
    yield "`confusion.csv` and `confusion.png` list all of them, `predictions.csv` lists every image.\n"


def _calibration(m: Json) -> Iterator[str]:
    test = m["test"]
    way = "overconfident" if test["mean_confidence"] > test["accuracy"] else "underconfident"
    yield "## Calibration\n"
    yield (
        f"Expected {describe_calibration(test)}; {test['ece_bins']} bins of equal width. The mean confidence "
        f"is {test['mean_confidence']:.4f}, the accuracy {test['accuracy']:.4f}: overall the model is {way}. "
        "`reliability.png` shows each bin.\n"
    )


def _exports(m: Json) -> Iterator[str]:
    exports = m["exports"]
    largest = ", ".join(f"{name} {difference:.1e}" for name, difference in exports["largest_difference"].items())
    yield "## Other formats\n"
    yield f"{' and '.join(f'`{name}`' for name in exports['files'])}, which include scaling and normalisation:\n"
    yield f"- input `{exports['input']}`; {m['data']['resize']}, with antialiasing (Pillow's)"
    yield f"- output `{exports['output']}`"
    yield (
        f"- compared with model.ckpt in float32 on {exports['compared_images']} test images, in batches of several "
        f"sizes: the largest difference of a probability is {largest}; {exports['tolerance']:g} is allowed"
    )
    if latency := exports.get("latency"):
        yield f"- time on the machine of the export: {escape_markdown(describe_latency(latency))}"
    yield ""


def _ensemble(m: Json) -> Iterator[str]:
    if not (ensemble := m.get("ensemble")):
        return
    yield "## Ensemble\n"
    yield "\n\n".join(ensemble["in_words"]) + "\n"
    if not ensemble["members"]:
        return
    header = ("member", "configuration", "seed", "weight", "image size", "parameters")
    yield from _table(header, [
        (
            member["file"], f"{member['trial_id']} {member['name']}", member["seed"], _number(member["weight"]),
            f"{member['image_size']} px", f"{member['parameters']:,}",
        )
        for member in ensemble["members"]
    ])  # fmt: skip
    yield f"`python -m inat.predict FOLDER_OF_THIS_FILE PHOTO... --ensemble{_own_option(m)}` predicts with it.\n"


def _shipped(m: Json) -> Iterator[str]:
    if shipped := m["shipped"]:
        yield f"## {SHIPPED_CKPT}\n"
        yield f"{shipped['in_words']}\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(value: Any) -> str:
    return value if isinstance(value, Markdown) else escape_markdown(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"
