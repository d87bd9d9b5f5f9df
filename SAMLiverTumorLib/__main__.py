"""`python -m SAMLiverTumorLib` is the console program `sam-liver-tumor`."""

import sys

from SAMLiverTumorLib.cli.main import main

sys.exit(main())
