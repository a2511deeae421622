"""How sure a number is, and whether two differ: intervals, tests of pairs, and how many rows it takes."""
