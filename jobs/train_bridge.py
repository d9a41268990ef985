"""Entry point for ``ray job submit``: the arguments are those of ``smotext train-bridge``.

ray job submit --working-dir . -- python jobs/train_bridge.py --input ... --output ... --workers 8
"""

import sys

from smotext_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-bridge", *sys.argv[1:]]))
