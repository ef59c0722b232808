"""The kinds of conditions, a module each (pipeline/language/condition.py)."""
