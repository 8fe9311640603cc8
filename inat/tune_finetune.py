"""Fine-tune pretrained backbones, and search the network, the frozen part and the training.

    python tune_finetune.py --plan   # print the trials and their estimated cost on this machine, and exit
    python tune_finetune.py          # nature_12K in ./inaturalist_12K, three backbones, 40 trials
    python tune_finetune.py --grid published                 # every combination published for nature_12K, 600 trials
    python tune_finetune.py --data PHOTOS --image-size 128 --backbones mobilenet_v2 --weights-dir WEIGHTS
    python tune_finetune.py --resume results/STUDY           # continue after Ctrl-C or a crash

Frozen layers run once per image and node instead of once per epoch and trial; see --views and --max-feature-gb. The
study is in results/NAME, as for tune_scratch.py. `python -m analysis compare` shows two studies side by side.
"""

from inat.config.finetune import FinetuneConfig
from inat.tuning.launch import run_search


def main() -> None:
    """Run the command; see `python tune_finetune.py --help`."""
    run_search(FinetuneConfig, __doc__)


if __name__ == "__main__":
    main()
