"""`python -m tickhandler_dagster` is the `tickhandler` command."""

from tickhandler_dagster.cli.app import main

if __name__ == "__main__":
    main()
