"""The OpenFeature SDK with its OFREP provider, asked line by line.

Its first argument is JSON: `sidecar`, where to ask. Each line of the input is `{"tenant", "feature"}`,
each line of the output what the SDK gives a program for that switch.
"""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

api.set_provider(OFREPProvider(json.loads(sys.argv[1])["sidecar"]))
client = api.get_client()
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    context = EvaluationContext(targeting_key=asked["tenant"])
    details = client.get_boolean_details(asked["feature"], False, context)
    said = {"value": details.value, "reason": str(details.reason), "error": details.error_code}
    print(json.dumps(said), flush=True)
