r"""Entry point for ``ray job submit``: the arguments are those of ``smotext augment``.

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
    python jobs/augment.py --input s3://... --output s3://...
"""

import sys

from entry import run

if __name__ == "__main__":
    sys.exit(run("augment"))
