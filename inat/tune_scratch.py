"""Search the hyperparameters of a CNN that is trained from scratch.

    python tune_scratch.py --data digits --num-samples 48  # 1,797 built-in scans, a few minutes on a laptop
    python tune_scratch.py --num-samples 480               # nature_12K in ./inaturalist_12K
    python tune_scratch.py --data PHOTOS --time-budget 30m          # image size, epochs and trials for this time
    python tune_scratch.py --data PHOTOS --image-size 64 --num-samples 16 --max-epochs 9
    python tune_scratch.py --data PHOTOS --image-size 64 --space modern --max-epochs 12 --grace-period 4 --patience 12
    python tune_scratch.py --data PHOTOS --image-size 64 --plan     # print the estimated cost on this machine and exit
    python tune_scratch.py --data PHOTOS --augment-preview out.png  # draw augmented images and exit
    python tune_scratch.py --resume results/STUDY                   # continue after Ctrl-C or a crash

Optuna's TPE proposes configurations, ASHA stops weak trials early, Ray Tune runs the trials in parallel. The study is
in results/NAME: trials.csv and history.csv grow during the search, best.json, best.ckpt and report.html follow at its
end.
"""

from inat.config.search import SearchConfig
from inat.tuning.launch import run_search


def main() -> None:
    """Run the command; see `python tune_scratch.py --help`."""
    run_search(SearchConfig, __doc__)


if __name__ == "__main__":
    main()
