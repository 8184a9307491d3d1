"""The command line: reads arguments, calls the console's commands, turns errors into exit codes."""
