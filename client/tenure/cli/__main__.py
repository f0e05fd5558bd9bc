"""`python -m tenure.cli`: the command line where the `tenure` script is not on the path."""

from tenure.cli import main

if __name__ == "__main__":
    main()
