"""The command `tenfold`, also `python -m tenfold`."""

import gc


def main() -> None:
    """Imports and runs the command, without looking for garbage among what is imported.

    Imports make a million objects that stay. To look through them, again and again while they are made and twice when
    the process ends, took 2.4 of the 5.9 s of a command that does nothing (one CPU core).
    """
    gc.disable()
    from tenfold.cli import main as run

    gc.enable()
    gc.freeze()
    try:
        run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
