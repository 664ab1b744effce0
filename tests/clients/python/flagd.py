"""flagd's own client for Python, which evaluates in the process: over gRPC and from a file."""

import os
import time

import requests
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

SIDECAR_URL = os.environ["SIDECAR_URL"]
HOST, PORT = os.environ["FLAGD_GRPC"].split(":")


def context(tenant):
    """What the sidecar says an application should pass."""
    answer = requests.get(f"{SIDECAR_URL}/v1/tenants/{tenant}/flag-context", timeout=5)
    answer.raise_for_status()
    passed = answer.json()
    return EvaluationContext(targeting_key=passed.pop("targetingKey"), attributes=passed)


def whole_set(tenant, revision):
    """What the sidecar answers itself at that revision."""
    url = f"{SIDECAR_URL}/v1/tenants/{tenant}/entitlements"
    answer = requests.get(url, headers={"Entitlements-At": str(revision)}, timeout=5)
    answer.raise_for_status()
    return {one["feature"]: one for one in answer.json()["entitlements"]}


def ready(client):
    """A client answers with defaults until it has flags, and the first ones take a while to settle."""
    for _ in range(400):
        settled = requests.get(f"{SIDECAR_URL}/v1/tenants/acme/flag-context", timeout=5).ok
        if settled and client.get_boolean_details("sso", False, context("acme")).variant:
            return
        time.sleep(0.05)
    raise TimeoutError("the client got no flags")


providers = {
    "grpc": FlagdProvider(host=HOST, port=int(PORT), tls=False, resolver_type=ResolverType.IN_PROCESS),
    "file": FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=os.environ["FLAGD_FILE"]
    ),
}
for name, provider in providers.items():
    api.set_provider(provider, name)
    client = api.get_client(name)
    ready(client)
    for tenant in ["acme", "nobody"]:
        passed = context(tenant)
        said = whole_set(tenant, passed.attributes["entRev"])
        checked = {
            "sso": client.get_boolean_value("sso", False, passed),
            "scim": client.get_boolean_value("scim", True, passed),
            "seats": client.get_integer_value("seats", -1, passed),
            "support": client.get_string_value("support", "?", passed),
            "branding": client.get_object_value("branding", {"?": 1}, passed),
        }
        expected = {
            "sso": said["sso"]["allowed"],
            "scim": said["scim"]["allowed"],
            "seats": said["seats"].get("amount", 0),
            "support": said["support"].get("level", "none"),
            "branding": said["branding"].get("config", {}),
        }
        assert checked == expected, (name, tenant, checked, expected)

api.shutdown()
print("ok")
