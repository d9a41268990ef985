r"""Entry point for ``ray job submit``: the arguments are those of ``smotext expand``.

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
    python jobs/expand.py --run s3://... --input s3://.../new/
"""

import sys

from entry import run

if __name__ == "__main__":
    sys.exit(run("expand"))
