"""YAML that people write: what it may hold (shapes), read with every mistake and its place (reader, findings), and the
names of events and fields that it speaks of (vocabulary).
"""
