"""Search the hyperparameters of a CNN trained from scratch: Bayesian search (Optuna TPE) with ASHA, on Ray Tune.

    python tune_scratch.py --num-samples 480                      # nature_12K in ./inaturalist_12K
    python tune_scratch.py --data digits --num-samples 48         # built-in scans, a few minutes on a laptop
    python tune_scratch.py --data PHOTOS --image-size 64 --num-samples 16 --max-epochs 9
    python tune_scratch.py --data PHOTOS --image-size 64 --space modern --patience 27 --grace-period 9
    python tune_scratch.py --data PHOTOS --augment-preview out.png  # look at the augmentation, then end
    python tune_scratch.py --resume results/STUDY                 # continue after Ctrl-C or a crash

Writes results/NAME: trials.csv and history.csv while it runs, best.json and best.ckpt at the end.
"""

from inat.cli import guard, parse_search
from inat.config.search import SearchConfig


def main() -> None:
    """Read the options, search, and say what came out."""
    config = parse_search(SearchConfig, __doc__ or "")
    if config.augment_preview is not None:
        from inat.data.preview import write_preview

        write_preview(config.data_config(), config.augment_preview, config.seed)
        return
    from inat.tuning.command import search_and_report  # Ray loads only once the options are known to be right

    search_and_report(config)


if __name__ == "__main__":
    guard(main)
