"""The JSON Schema with which editors complete and check rule tests while they are written.

python -m pipeline.rule_tests.jsonschema > rule-tests.schema.json
"""

from __future__ import annotations

import sys

from pipeline.rule_tests.reading import grammar
from pipeline.topology import jsonschema


def text() -> str:
    """The file's content. Whether a rule is in the topology, and a field in an event, only `pipeline test` sees."""
    return jsonschema.text(jsonschema.schema(grammar(), "rule tests", "Given these events, these decisions."))


if __name__ == "__main__":
    sys.stdout.write(text())
