r"""Entry point for ``ray job submit``: the arguments are those of ``smotext train-bridge``.

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
    python jobs/train_bridge.py --input ... --output ... --workers 8
"""

import sys

from entry import run

if __name__ == "__main__":
    sys.exit(run("train-bridge"))
