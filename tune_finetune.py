"""Fine-tune pretrained backbones, and search the network, the frozen part and the training; `inat tune-finetune`.

python tune_finetune.py --plan   # print the trials and their estimated cost on this machine, and exit
python tune_finetune.py --help   # more examples, and every option
"""

from inat.tune_finetune import main

if __name__ == "__main__":
    main()
