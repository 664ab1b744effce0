"""Reads what a tenant may use from the cache that a sidecar keeps in Redis.

    pip install redis
    python reader.py redis://127.0.0.1:6379 acme seats

The rule: ask for the version that counts, then for the tenant's versions, take the newest of them
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
            # Both in one round trip, in this order.
            both = self.client.pipeline(transaction=False)
            both.get(f"{self.start}:{{g}}:rev").get(f"{self.start}:{{{tenant}}}:cur")
            counts, pointer = both.execute()
            if counts is None or pointer is None:
                return None
            versions = [version for version in pointer.split(" ") if version <= counts]
            if not versions:
                continue  # more was prepared meanwhile; or it is new, and does not count yet
            fields = self.client.hgetall(f"{self.start}:{{{tenant}}}:v:{versions[0]}")
            if "_gone" in fields:
                return None
            if fields:
                return self.parsed(counts, fields)
        if not versions:
            return None
        raise TimeoutError(f"the cache changes faster than it can be read: {tenant}")

    @staticmethod
    def parsed(counts, fields):
        until = fields.get("_valid_until")
        # Past it nobody has pushed what is true now: ask the sidecar, or refuse.
        stale = bool(until) and datetime.fromisoformat(until) <= datetime.now(timezone.utc)
        answers = {k: json.loads(v) for k, v in fields.items() if not k.startswith("_")}
        revision = int(counts.split(".")[1])
        return {
            "revision": revision,
            "answers": answers,
            "valid_until": until or None,
            "stale": stale,
        }


if __name__ == "__main__":
    url, tenant, *features = sys.argv[1:]
    found = Entitlements(redis.Redis.from_url(url, decode_responses=True)).read(tenant)
    if found is None:
        sys.exit(f"there is no tenant `{tenant}` in the cache")
    shown = {f: found["answers"][f] for f in features} if features else found["answers"]
    print(json.dumps(shown, indent=2))
