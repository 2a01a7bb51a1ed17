"""`python -m engine` is `lvm-engine`."""

from engine.cli import main

if __name__ == "__main__":
    main(prog_name="lvm-engine")
