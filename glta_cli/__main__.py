"""`python -m glta_cli` is `glta`."""

from glta_cli.main import main

if __name__ == "__main__":
    main()
