"""The OpenFeature SDK of Python with its OFREP provider: one request per evaluation."""

import os
import time

import requests
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

SIDECAR_URL = os.environ["SIDECAR_URL"]
ADMIN_URL = os.environ["ADMIN_URL"]
ADMIN_KEY = os.environ["ADMIN_KEY"]


def override_seats(amount):
    """Gives `acme` so many seats by an override."""
    url = f"{ADMIN_URL}/v1/tenants/acme"
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    read = requests.get(url, headers=headers, timeout=5)
    read.raise_for_status()
    tenant = read.json() | {"overrides": [{"feature": "seats", "amount": amount}]}
    headers["If-Match"] = read.headers["ETag"]
    requests.put(url, headers=headers, json=tenant, timeout=5).raise_for_status()


api.set_provider(OFREPProvider(SIDECAR_URL))
client = api.get_client()
acme = EvaluationContext(targeting_key="acme")

# One feature of each kind.
sso = client.get_boolean_details("sso", False, acme)
assert sso.value is True and sso.error_code is None, sso
assert sso.reason == "TARGETING_MATCH", sso
assert client.get_integer_details("seats", 1, acme).value == 15
assert client.get_string_details("support", "?", acme).value == "gold"
assert client.get_object_details("branding", {}, acme).value == {"color": "teal"}

# A denial is an answer, not the default in the caller's code.
denied = client.get_boolean_details("scim", True, acme)
assert denied.value is False and denied.error_code is None, denied
stranger = EvaluationContext(targeting_key="nobody")
assert client.get_boolean_details("sso", True, stranger).value is False

# What the catalog does not know is an error, and gives the default.
unknown = client.get_boolean_details("no-such-feature", True, acme)
assert unknown.error_code == ErrorCode.FLAG_NOT_FOUND, unknown
assert unknown.value is True, unknown

# Without a tenant there is nobody to answer for.
nobody = client.get_integer_details("seats", 7)
assert nobody.error_code == ErrorCode.TARGETING_KEY_MISSING, nobody
assert nobody.value == 7, nobody

# A change made in the admin arrives.
override_seats(25)
deadline = time.monotonic() + 15
while (seats := client.get_integer_value("seats", 0, acme)) == 15:
    assert time.monotonic() < deadline, "the change did not arrive in 15 seconds"
assert seats == 25, seats

api.shutdown()
print("ok")
