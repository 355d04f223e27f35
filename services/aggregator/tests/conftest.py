"""Makes the modules beside this file importable by the tests (which are no package)."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
