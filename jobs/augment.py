"""Entry point for ``ray job submit``: the arguments are those of ``smotext augment``.

ray job submit --working-dir . -- python jobs/augment.py --input s3://... --output s3://...
"""

import sys

from smotext_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["augment", *sys.argv[1:]]))
