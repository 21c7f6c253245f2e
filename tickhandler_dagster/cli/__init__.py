"""The `tickhandler` command: arguments in, text and exit codes out."""
