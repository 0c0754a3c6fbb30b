"""The examples of the documentation of 2015 run in each of the ways in which they may be run."""
