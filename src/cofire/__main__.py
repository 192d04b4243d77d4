"""``python -m cofire``."""

import sys

from cofire.cli import main

sys.exit(main())
