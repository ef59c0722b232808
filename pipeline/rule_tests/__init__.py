"""Tests of rules, written beside them: given these events, these decisions (docs/rule-tests.md)."""
