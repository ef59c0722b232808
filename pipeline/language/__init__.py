"""What can be said of an event, and of a person at a moment: the operators of which rules and segments are made."""
