"""`python -m darkroom_cli`; ./darkroom at the root of the repository ends here."""

import sys

if __name__ == "__main__":
    try:
        from darkroom_cli.app import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
