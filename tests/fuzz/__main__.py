"""`python -m tests.fuzz READER COUNT [FIRST]`: so many damaged files, and each kind of failure with its first number.

`python -m tests.fuzz READER --show NUMBER`: that one alone, with what was printed.
"""

import sys

from tests.fuzz.attack import attack, main

if __name__ == "__main__":
    reader, second, *rest = sys.argv[1:]
    if second == "--show":
        print(attack(reader, 1, int(rest[0]), show=True)[1])
    else:
        sys.exit(not main(reader, int(second), *map(int, rest)))
