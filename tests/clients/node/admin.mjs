// What both scripts share: where things are, and a change made in the admin.

import assert from "node:assert/strict";

const { ADMIN_URL, ADMIN_KEY } = process.env;
export const SIDECAR_URL = process.env.SIDECAR_URL;

assert.ok(SIDECAR_URL && ADMIN_URL && ADMIN_KEY, "set SIDECAR_URL, ADMIN_URL and ADMIN_KEY");

// A script that hangs must fail. Few take long.
const patience = Number(process.env.PATIENCE_S ?? 20);
setTimeout(() => {
  console.error(`gave up after ${patience} seconds`);
  process.exit(1);
}, patience * 1000).unref();

/** Reads something from the admin, with its tag. */
export async function read(path) {
  const authorization = `Bearer ${ADMIN_KEY}`;
  const answer = await fetch(`${ADMIN_URL}${path}`, { headers: { authorization } });
  assert.equal(answer.status, 200, await answer.clone().text());
  return { body: await answer.json(), tag: answer.headers.get("etag") };
}

/** Makes a catalog the one in force, and returns the revision of the change. */
export async function putCatalog(catalog) {
  const authorization = `Bearer ${ADMIN_KEY}`;
  const headers = { authorization, "content-type": "application/json", "if-match": "*" };
  const body = JSON.stringify(catalog);
  const answer = await fetch(`${ADMIN_URL}/v1/catalog`, { method: "PUT", headers, body });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).revision;
}

/** Waits until something is so. */
export async function waitFor(isSo, ms) {
  const end = Date.now() + ms;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, "it did not come to be so in time");
    await new Promise((done) => setTimeout(done, 50));
  }
}

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
