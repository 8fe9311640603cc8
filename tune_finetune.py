"""Fine-tune pretrained backbones: a grid over networks, freezing strategies and how they are trained, on Ray Tune.

    python tune_finetune.py --plan                                # the grid and what it is going to cost here
    python tune_finetune.py                                       # nature_12K in ./inaturalist_12K, six backbones
    python tune_finetune.py --searcher tpe --num-samples 60       # Bayesian search over the same space
    python tune_finetune.py --data PHOTOS --image-size 128 --backbones mobilenet_v2 --weights-dir WEIGHTS
    python tune_finetune.py --resume results/STUDY                # continue after Ctrl-C or a crash

Frozen layers run once for each photo and machine, not once an epoch and trial: --views, --max-feature-gb.
Writes results/NAME as tune_scratch.py does; `python -m analysis compare` sets two studies side by side.
"""

from inat.cli import guard, parse_search
from inat.config.finetune import FinetuneConfig


def main() -> None:
    """Read the options, search, and say what came out."""
    config = parse_search(FinetuneConfig, __doc__ or "")
    if config.augment_preview is not None:
        from inat.data.preview import write_preview

        write_preview(config.data_config(), config.augment_preview, config.seed)
        return
    if config.plan:
        from inat.tuning.cost_estimate import print_plan

        print_plan(config)
        return
    from inat.tuning.command import search_and_report  # Ray loads only once the options are known to be right

    search_and_report(config)


if __name__ == "__main__":
    guard(main)
