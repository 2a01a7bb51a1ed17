"""`python -m tui` is `lvm-tui`."""

from tui.cli import main

if __name__ == "__main__":
    main(prog_name="lvm-tui")
