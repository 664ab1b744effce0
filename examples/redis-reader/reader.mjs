// Reads what a tenant may use from the cache that a sidecar keeps in Redis.
//
//   npm install redis
//   node reader.mjs redis://127.0.0.1:6379 acme seats
//
// The rule: ask for the version that counts, then for the tenant's versions, take the newest of them
// that is not newer than the one that counts, then read that hash. It never changes, so all answers
// of one read belong together. A hash that is gone means that the read took too long: begin again.

import { createClient } from "redis";

/** All answers of a tenant by feature; null where there is no such tenant. */
export async function read(client, tenant, { environment = "default", prefix = "ent" } = {}) {
  const start = `${prefix}:${environment}:s1`;
  let version;
  for (let attempt = 0; attempt < 5; attempt += 1) {
    // Both in one round trip, in this order.
    const [counts, pointer] = await Promise.all([
      client.get(`${start}:{g}:rev`),
      client.get(`${start}:{${tenant}}:cur`),
    ]);
    if (counts === null || pointer === null) return null;
    version = pointer.split(" ").find((one) => one <= counts);
    // More was prepared meanwhile; or it is new, and does not count yet.
    if (version === undefined) continue;
    const fields = await client.hGetAll(`${start}:{${tenant}}:v:${version}`);
    if ("_gone" in fields) return null;
    if (Object.keys(fields).length > 0) return parsed(counts, fields);
  }
  if (version === undefined) return null;
  throw new Error(`the cache changes faster than it can be read: ${tenant}`);
}

function parsed(counts, fields) {
  const until = fields._valid_until || null;
  // Past it nobody has pushed what is true now: ask the sidecar, or refuse.
  const stale = until !== null && new Date(until) <= new Date();
  const named = Object.entries(fields).filter(([name]) => !name.startsWith("_"));
  const answers = Object.fromEntries(named.map(([name, value]) => [name, JSON.parse(value)]));
  return { revision: Number(counts.split(".")[1]), answers, valid_until: until, stale };
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
