"""The files in deploy/, tried with the programs that read them."""
