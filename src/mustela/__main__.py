"""`python -m mustela` and `torchrun -m mustela` are the `mustela` command."""

import sys

from mustela.cli.main import main

sys.exit(main())
