"""Search the hyperparameters of a CNN that is trained from scratch; the same as `inat tune-scratch`.

python tune_scratch.py --data digits --num-samples 48  # 1,797 built-in scans, a few minutes on a laptop
python tune_scratch.py --help                          # more examples, and every option
"""

from inat.tune_scratch import main

if __name__ == "__main__":
    main()
