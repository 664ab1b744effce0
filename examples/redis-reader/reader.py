"""Reads what a tenant may use from the cache that a sidecar keeps in Redis.

    pip install redis
    python reader.py redis://127.0.0.1:6379 acme seats

The rule: ask for the version that counts and for the tenant's two versions, take the newest of them
that is not newer than the one that counts, then read that hash. It never changes, so all answers
of one read belong together. A hash that is gone means that the read took too long: begin again.
"""

import json
import sys
from datetime import datetime, timezone

import redis


class Entitlements:
    def __init__(self, client, environment="default", prefix="ent"):
        self.client = client
        self.start = f"{prefix}:{environment}:s1"

    def read(self, tenant):
        """All answers of a tenant by feature; None where there is no such tenant."""
        for _ in range(5):
            counts = self.client.get(f"{self.start}:{{g}}:rev")
            pointer = self.client.get(f"{self.start}:{{{tenant}}}:cur")
            if counts is None or pointer is None:
                return None
            versions = [v for v in pointer.split(" ") if v and v <= counts]
            if versions:
                fields = self.client.hgetall(f"{self.start}:{{{tenant}}}:v:{versions[0]}")
                if "_gone" in fields:
                    return None
                if fields:
                    return self.parsed(fields)
            elif " " not in pointer.strip():
                return None  # it is new, and does not count yet
        raise TimeoutError(f"the cache changes faster than it can be read: {tenant}")

    @staticmethod
    def parsed(fields):
        until = fields.get("_valid_until")
        # The host's clock may be ahead of the sidecar's push by moments: then ask the sidecar.
        stale = bool(until) and datetime.fromisoformat(until) <= datetime.now(timezone.utc)
        answers = {k: json.loads(v) for k, v in fields.items() if not k.startswith("_")}
        return {"answers": answers, "valid_until": until or None, "stale": stale}


if __name__ == "__main__":
    url, tenant, *features = sys.argv[1:]
    found = Entitlements(redis.Redis.from_url(url, decode_responses=True)).read(tenant)
    if found is None:
        sys.exit(f"there is no tenant `{tenant}` in the cache")
    shown = {f: found["answers"][f] for f in features} if features else found["answers"]
    print(json.dumps(shown, indent=2))
