"""rudder-sdk-python through its whole repertoire.

.clients/bin/python tests/clients/rudder_python.py BASE KEY SEED    # prints what it was asked to send
"""

import json
import sys

from rudderstack.analytics import Client
from rudderstack.analytics.version import VERSION
from story import run

base, key, seed = sys.argv[1:]
print(json.dumps({"client": f"rudder-sdk-python {VERSION}", "asked": run(Client, key, base, seed)}))
