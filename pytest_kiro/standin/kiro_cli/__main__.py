"""Started by path, with `-I -S`: nothing but the standard library is importable, not even this package."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from kiro_cli.app import main  # type: ignore[import-not-found, unused-ignore] # by the line above

    main()
