"""What mattered at equal budget, by methods with intervals, and the effect of each value."""

from analysis.figures import effects
from analysis.figures.importance import plot_importance
from analysis.report.model import Item, Picture, Section, Table, section
from analysis.report.shared import Findings, needed
from analysis.stats.effects import pairwise, value_effects
from analysis.stats.interaction import interactions, pair_table
from analysis.stats.partial_dependence import partial_dependence

SIGNIFICANT = 0.05
SHORT = 12  # rows of a table that need no folding


def equal_budget(found: Findings | str) -> list[Section]:
    """The honest versions of the panels."""
    return [
        section("importance", "What mattered", lambda: _importance(needed(found))),
        section("effects", "Each value", lambda: _effects(needed(found))),
        section("together", "Two together", lambda: _together(needed(found))),
    ]


def _importance(found: Findings) -> list[Item]:
    names = ", ".join(found.top) or "none"
    alt = f"Importance with 95 % intervals by four methods. By permutation the order begins with {names}."
    return [
        f"Compared: {found.sample.budget}. Fit of a forest: {found.verdict}.",
        "Impurity, fANOVA and PED-ANOVA are shares of one, so noise gets a share too. Permutation is the R² that is "
        "lost when a hyperparameter is shuffled, about 0 for noise. PED-ANOVA is about what sets the best apart.",
        Picture("importance", alt, plot_importance(found.importance)[0]),
        Table("importance", "Importance by method", found.importance, folded=True),
    ]


def _effects(found: Findings) -> list[Item]:
    table, pairs = value_effects(found.sample), pairwise(found.sample)
    apart = pairs[pairs["adjusted_p_holm"].lt(SIGNIFICANT)]
    share = f"{len(apart)} of {len(pairs)} pairs of values"
    return [
        "How much better a value is than the others of its hyperparameter, all else equal: "
        f"{found.sample.budget}. Grey intervals include 0; each is of its value "
        "alone, pairs below are corrected for their number. A Bayesian search tries good regions more often, so that "
        "plain means mix the effect of a value with that of the values it came with; adjusted ones hold those fixed.",
        Picture(
            "effects",
            f"Adjusted effect of {len(table)} values with 95 % intervals; {share} differ after correction.",
            effects.plot_effects(table, None, found.outcome, found.sample.sign),
        ),
        Table("values", "Each value: plain mean, median, best, and adjusted effect", table, folded=True),
        Table(
            "different", "Pairs of values that differ", apart, f"{share} after Holm's correction", len(apart) > SHORT
        ),
        Table("pairs", "All pairs of values", pairs, folded=True),
    ]


def _together(found: Findings) -> list[Item]:
    return [f"Compared: {found.sample.budget}.", *_pair(found), *_dependence(found)]


def _pair(found: Findings) -> list[Item]:
    pairs = interactions(found.sample)
    known = pairs[pairs["p"].notna()]
    if not len(known):
        return ["No pair has enough trials to tell what its hyperparameters do together."]
    first, second, p = known.iloc[0][["first", "second", "p_holm"]]
    surely = "more, or less, together than apart" if p < SIGNIFICANT else "nothing together that noise could not do"
    table = pair_table(found.sample, first, second)
    alt = f"Mean {found.outcome} for each pair of values of {first} and {second}, with the number of trials."
    return [
        f"The strongest pair is {first} and {second}: they do {surely} (p {p:.2g}, corrected for {len(known)} pairs).",
        Picture("interaction", alt, effects.plot_interaction(table, None, found.outcome)),
        Table("pair", f"{first} and {second}", table, folded=True),
        Table("interactions", "All pairs of hyperparameters", pairs, folded=True),
    ]


def _dependence(found: Findings) -> list[Item]:
    table = partial_dependence(found.sample, found.top)
    if not len(table):
        return []
    alt = f"Partial dependence of {found.outcome} on {', '.join(found.top)}, with intervals."
    return [
        "Partial dependence is what a forest predicts if all trials had one value, and as good as the forest: "
        f"{found.verdict}.",
        Picture("dependence", alt, effects.plot_dependence(table, None, found.outcome)[0]),
        Table("dependence", "Partial dependence", table, folded=True),
    ]
