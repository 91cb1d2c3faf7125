"""`python -m autonba`, and `torchrun --nproc_per_node 2 -m autonba search …` for several
processes.
"""

from autonba.cli import main

if __name__ == "__main__":
    main()
