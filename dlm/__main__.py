"""``python -m dlm`` is ``dlm``."""

from dlm.cli import main

main()
