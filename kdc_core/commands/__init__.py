"""One module per ``kdc`` command, each with ``add_arguments(parser)`` and ``main(args) -> int``."""
