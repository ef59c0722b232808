"""The commands of `pipeline`, a module each: `command` is what cli.py calls."""
