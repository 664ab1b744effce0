// Reads what a tenant may use from the cache that a sidecar keeps in Redis.
//
//   npm install redis
//   node reader.mjs redis://127.0.0.1:6379 acme seats
//
// The rule: ask for the version that counts and for the tenant's two versions, take the newest of
// them that is not newer than the one that counts, then read that hash. It never changes, so all
// answers of one read belong together. A hash that is gone means that the read took too long.

import { createClient } from "redis";

/** All answers of a tenant by feature; null where there is no such tenant. */
export async function read(client, tenant, { environment = "default", prefix = "ent" } = {}) {
  const start = `${prefix}:${environment}:s1`;
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const counts = await client.get(`${start}:{g}:rev`);
    const pointer = await client.get(`${start}:{${tenant}}:cur`);
    if (counts === null || pointer === null) return null;
    const [version] = pointer.split(" ").filter((one) => one !== "" && one <= counts);
    if (version !== undefined) {
      const fields = await client.hGetAll(`${start}:{${tenant}}:v:${version}`);
      if ("_gone" in fields) return null;
      if (Object.keys(fields).length > 0) return parsed(fields);
    } else if (!pointer.trim().includes(" ")) {
      return null; // it is new, and does not count yet
    }
  }
  throw new Error(`the cache changes faster than it can be read: ${tenant}`);
}

function parsed(fields) {
  const until = fields._valid_until || null;
  // The host's clock may be ahead of the sidecar's push by moments: then ask the sidecar.
  const stale = until !== null && new Date(until) <= new Date();
  const named = Object.entries(fields).filter(([name]) => !name.startsWith("_"));
  const answers = Object.fromEntries(named.map(([name, value]) => [name, JSON.parse(value)]));
  return { answers, valid_until: until, stale };
}

if (process.argv[1]?.endsWith("reader.mjs")) {
  const [url, tenant, ...features] = process.argv.slice(2);
  const client = await createClient({ url }).connect();
  const found = await read(client, tenant);
  await client.close();
  if (found === null) {
    console.error(`there is no tenant \`${tenant}\` in the cache`);
    process.exit(1);
  }
  const chosen = Object.entries(found.answers).filter(
    ([name]) => features.length === 0 || features.includes(name),
  );
  console.log(JSON.stringify(Object.fromEntries(chosen), null, 2));
}
