"""Read the studies of a search, of Ray Tune, of Optuna or of W&B.

python -m analysis report results/SCRATCH      # everything on one page
python -m analysis compare results/SCRATCH results/FINETUNE
python -m analysis importance results/SCRATCH  # which hyperparameters matter
python -m analysis claims results/SCRATCH "batch_norm=True > batch_norm=False"
python -m analysis audit results/SCRATCH       # what early stopping saved and missed
python -m analysis noise results/SCRATCH       # which trials cannot be told from the best
python -m analysis importance ray_results/EXPERIMENT --metric val/loss --mode min
python -m analysis importance optuna.db --study NAME
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from analysis.comparable import sample_at
from analysis.escaping import LAYOUT, printable
from analysis.option_help import registry
from analysis.printing import columns_in_unit, describe_test, show, show_noise, what_happened
from analysis.reading import AS_USUAL, Options
from analysis.run_card import program, run_card, wrapped_usage
from analysis.schema import BEST_VAL_ACC, VAL_ACC
from analysis.terminal import PlainConsole, prepare_output
from analysis.wording import counted, in_unit

app = tyro.extras.SubcommandApp()


File = Annotated[Path | None, "FILE"]
Folder = Annotated[Path | None, "FOLDER"]


@app.command
def compare(
    studies: tyro.conf.Positional[tuple[Path, ...]],
    output: Folder = None,
    different_data: bool = False,
    price_per_hour: Annotated[float | None, "X"] = None,
    reading: Options = AS_USUAL,
) -> None:
    """Print studies of the same photos side by side, and write tables and a figure.

    Args:
        studies: Study directories.
        output: Folder for comparison.csv, comparison.md and comparison.png. Default: the parent folder of the first
            study.
        different_data: Compare studies of different photos or splits, and say so above the table. Default: refuse.
        price_per_hour: Price of an hour of one trial, in any currency, for the columns cost and total_cost. For a
            machine that runs several trials at once, its price divided by their number. Default: no costs.
        reading: How to read studies that other programs wrote.
    """
    from analysis.comparison_text import compare_studies

    if not studies:
        raise ValueError("no study given; name the study directories to compare")
    if price_per_hour is not None and not 0 < price_per_hour < float("inf"):
        raise ValueError(f"--price-per-hour must be positive, got {price_per_hour:g}")
    names = [path.resolve().name for path in studies]
    unique = [name if names.count(name) == 1 else str(path) for name, path in zip(names, studies, strict=True)]
    loaded = {name: reading.load(path) for name, path in zip(unique, studies, strict=True)}
    tables = compare_studies(loaded, different_data=different_data, price_per_hour=price_per_hour)
    folder = output or studies[0].resolve().parent
    tables.write(folder)
    console = PlainConsole()
    console.print(f"{tables.text}\n")
    for name, path in zip(unique, studies, strict=True):
        console.print(describe_test(name, path))
    console.print(f"\nWritten to {folder / 'comparison.csv'}, with comparison.md and figures beside it")


@app.command
def claims(
    path: tyro.conf.Positional[Path],
    claims: tyro.conf.Positional[tuple[str, ...]] = (),
    file: File = None,
    epochs: int | None = None,
    csv: File = None,
    reading: Options = AS_USUAL,
) -> None:
    """Check claims about hyperparameters: supported, contradicted or undecided.

    Args:
        path: Study directory, Ray Tune experiment, Optuna database or journal, or CSV of W&B runs.
        claims: Claims such as "batch_norm=True > batch_norm=False", "conv_layers=5 best" or
            "activation in (relu, silu) > (mish, gelu)". Default: the ten claims published for nature_12K, as far as
            the study has their hyperparameters, and those about fine-tuning.
        file: File with one claim per line.
        epochs: Number of epochs at which trials are compared. Default: the most that all trials reached.
        csv: CSV file to write the table to.
        reading: How to read a study that another program wrote.
    """
    from analysis.claims.check import check_claims, left_out_takeaways, published_takeaways
    from analysis.claims.finetuning import check_finetuning_claims
    from analysis.claims.grammar import parse, read_claims
    from analysis.early_stopping.late_effects import describe_budgets

    loaded = reading.load(path)
    given = [parse(text) for text in claims] + (read_claims(file) if file else [])
    checked = given or published_takeaways(loaded)
    left_out = "" if given else left_out_takeaways(loaded)
    sample = sample_at(loaded, epochs)
    title = sample.budget_text
    tables = {title: check_claims(loaded, checked, epochs, lenient=not claims)} if checked else {}
    finetuning = check_finetuning_claims({"this study": loaded}, epochs)
    if len(finetuning) and not given:
        tables[f"Claims published for fine-tuning, {title}"] = finetuning.drop(columns="study")
    above = "\n".join(filter(None, (left_out, describe_budgets(loaded, sample.epochs) if tables else "")))
    show({title: columns_in_unit(table, loaded.unit) for title, table in tables.items()}, csv, above)


@app.command
def importance(
    path: tyro.conf.Positional[Path],
    epochs: int | None = None,
    csv: File = None,
    reading: Options = AS_USUAL,
) -> None:
    """Print which hyperparameters matter, by four methods with intervals.

    Args:
        path: Study directory, Ray Tune experiment, Optuna database or journal, or CSV of W&B runs.
        epochs: Number of epochs at which trials are compared. Default: the most that all trials reached.
        csv: CSV file to write the tables to.
        reading: How to read a study that another program wrote.
    """
    from analysis.early_stopping.late_effects import describe_ends
    from analysis.stats.forest import forest_importance
    from analysis.stats.importance import describe_ranking, importance, nothing_varies, wandb_panel

    study = reading.load(path)
    sample = sample_at(study, epochs)
    if not sample.parameters:
        show({}, csv, f"No importance: {nothing_varies(sample)} ({sample.budget_text}).")
        return
    forest = forest_importance(sample)
    if forest.r2 != forest.r2:  # every importance is unknown
        show({}, csv, f"{describe_ranking(forest, len(sample))}\n{sample.budget_text}")
        return
    tables = {"importance": importance(sample, forest), "columns": wandb_panel(sample, forest)}
    tables = {title: columns_in_unit(table, sample.unit) for title, table in tables.items()}
    lines = describe_ranking(forest, len(sample)), sample.budget_text, describe_ends(study, "this ranking holds")
    show(tables, csv, "\n".join(filter(None, lines)))


@app.command
def audit(path: tyro.conf.Positional[Path], csv: File = None, debug: bool = False, reading: Options = AS_USUAL) -> None:
    """Print what early stopping saved and missed, and why trials failed.

    Args:
        path: Study directory, Ray Tune experiment, Optuna database or journal, or CSV of W&B runs.
        csv: CSV file to write the tables to.
        debug: Show the traceback of a table that fails.
        reading: How to read a study that another program wrote.
    """
    from analysis.early_stopping.audit import NOTES, audit_tables
    from analysis.early_stopping.late_effects import control_findings
    from analysis.failures import Failure, attempt, warn

    study = reading.load(path)
    names = {BEST_VAL_ACC: BEST_VAL_ACC if study.metric == VAL_ACC else study.metric}
    failures: list[Failure] = []
    tables = {
        in_unit(title, study.unit): columns_in_unit(table, study.unit).rename(columns=names)
        for title, table in audit_tables(study, failures).items()
    }
    notes = {in_unit(title, study.unit): in_unit(note, study.unit) for title, note in NOTES.items()}
    findings = attempt("the findings from control trials", lambda: control_findings(study), failures) or []
    show(tables, csv, "\n".join(filter(None, (what_happened(study), *findings))), notes)
    warn(failures, debug)


@app.command
def noise(path: tyro.conf.Positional[Path], csv: File = None, reading: Options = AS_USUAL) -> None:
    """Print which trials cannot be told from the best one.

    Args:
        path: Study directory.
        csv: CSV file to write the table to.
        reading: Which metric to compare.
    """
    show_noise(reading.load(path), path, csv)


@app.command
def report(
    path: tyro.conf.Positional[Path],
    epochs: int | None = None,
    output: Folder = None,
    csv: bool = False,
    debug: bool = False,
    reading: Options = AS_USUAL,
) -> None:
    """Write report.html, which needs no network, summary.md and figures/*.png.

    Args:
        path: Study directory, Ray Tune experiment, Optuna database or journal, or CSV of W&B runs.
        epochs: Number of epochs at which trials are compared. Default: the most that all trials reached.
        output: Folder to write to. Default: the study directory, or a folder beside a study that is one file.
        csv: Also write every table as tables/*.csv.
        debug: Show the traceback of a section that fails.
        reading: How to read a study that another program wrote.
    """
    from analysis.failures import warn
    from analysis.report.build import build
    from analysis.report.write import folder_for, write

    named = path.with_name(f"{path.name}#{reading.study}") if reading.study else path
    study = reading.load(path)
    built = build(study, named, epochs)
    files = write(built, output or folder_for(named), csv=csv)
    page, others = files[0], len(files) - 1
    beside = f"and {counted(others, 'file')} beside it"
    PlainConsole().print(f"report  {page} ({page.stat().st_size / 1e6:.1f} MB), {beside}")
    if about := what_happened(study):
        PlainConsole().print(f"        {about}")
    warn(built.failures, debug)


def main() -> None:
    """Run one command; for wrong input print one line and exit with code 2."""
    prepare_output()
    try:
        with wrapped_usage():
            app.cli(prog=program(), description=run_card(__doc__ or ""), registry=registry())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        _exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        _exit(str(error))


def _exit(reason: str) -> NoReturn:
    print(f"error: {printable(reason, LAYOUT)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
