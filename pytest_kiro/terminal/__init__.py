"""F2, terminal: start a program in a sandbox's terminal so that nothing but the program is seen."""
