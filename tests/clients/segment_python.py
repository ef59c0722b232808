"""segment-analytics-python through its whole repertoire.

.clients/bin/python tests/clients/segment_python.py BASE KEY SEED    # prints what it was asked to send
"""

import json
import sys

from segment.analytics import Client
from segment.analytics.version import VERSION
from story import run

base, key, seed = sys.argv[1:]
print(json.dumps({"client": f"segment-analytics-python {VERSION}", "asked": run(Client, key, base, seed)}))
