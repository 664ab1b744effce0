// What both scripts share: where things are, and a change made in the admin.

import assert from "node:assert/strict";

const { ADMIN_URL, ADMIN_KEY } = process.env;
export const SIDECAR_URL = process.env.SIDECAR_URL;

assert.ok(SIDECAR_URL && ADMIN_URL && ADMIN_KEY, "set SIDECAR_URL, ADMIN_URL and ADMIN_KEY");

// Nothing here takes long. A script that hangs must fail.
setTimeout(() => {
  console.error("gave up after 20 seconds");
  process.exit(1);
}, 20_000).unref();

/** Gives `acme` so many seats by an override, and returns the revision of the change. */
export async function overrideSeats(amount) {
  const url = `${ADMIN_URL}/v1/tenants/acme`;
  const authorization = `Bearer ${ADMIN_KEY}`;
  const read = await fetch(url, { headers: { authorization } });
  assert.equal(read.status, 200);
  const tenant = await read.json();
  tenant.overrides = [{ feature: "seats", amount }];
  const written = await fetch(url, {
    method: "PUT",
    headers: { authorization, "content-type": "application/json", "if-match": read.headers.get("etag") },
    body: JSON.stringify(tenant),
  });
  assert.equal(written.status, 200, await written.clone().text());
  return (await written.json()).revision;
}
