"""`python -m darkroom_cli`; ./darkroom at the root of the repository ends here."""

from darkroom_cli.app import main

if __name__ == "__main__":
    main()
