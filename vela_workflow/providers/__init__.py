"""The operations that templates ask for, one folder per family. ``contract`` says what an operation is."""
