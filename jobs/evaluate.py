r"""Entry point for ``ray job submit``: the arguments are those of ``smotext evaluate``.

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
    python jobs/evaluate.py --run s3://... --test s3://... --output ...
"""

import sys

from entry import run

if __name__ == "__main__":
    sys.exit(run("evaluate"))
