// Unleash's own SDK against flags that a sidecar pushed: it says what checks say, and a reader that
// polls the server all the while sees only before and after.

import assert from "node:assert/strict";
import { startUnleash } from "unleash-client";
import { read, putCatalog, waitFor } from "./admin.mjs";

const { SIDECAR_URL, UNLEASH_URL, UNLEASH_BACKEND_TOKEN } = process.env;

const unleash = await startUnleash({
  url: `${UNLEASH_URL}/api`,
  appName: "tests",
  refreshInterval: 1000,
  disableMetrics: true,
  customHeaders: { Authorization: UNLEASH_BACKEND_TOKEN },
});

async function context(tenant) {
  const answer = await fetch(`${SIDECAR_URL}/v1/tenants/${tenant}/flag-context`);
  if (!answer.ok) return null;
  const { tenantId, plan, country, entRev } = await answer.json();
  return { entRev, passed: { userId: tenantId, properties: { tenantId, plan, country, entRev: String(entRev) } } };
}

async function check(tenant, feature, revision) {
  const answer = await fetch(`${SIDECAR_URL}/v1/check`, {
    method: "POST",
    headers: revision === undefined ? {} : { "entitlements-at": String(revision) },
    body: JSON.stringify({ tenant, feature }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

/** What a flag says: how much, or whether. */
function said(feature, passed) {
  const { payload, feature_enabled: enabled } = unleash.getVariant(`ent.${feature}`, passed);
  if (!enabled) return null;
  return payload === undefined ? true : payload.type === "number" ? Number(payload.value) : payload.value;
}

/** Waits, and tells how the sinks are where it was in vain. */
async function until(isSo) {
  try {
    await waitFor(isSo, 60_000);
  } catch (error) {
    console.error(await (await fetch(`${SIDECAR_URL}/v1/sinks`)).text());
    throw error;
  }
}

const arrived = (seats) => async () => {
  const now = await context("acme");
  if (now === null) return false;
  const { amount } = await check("acme", "seats", now.entRev);
  return amount === seats && said("seats", now.passed) === seats;
};
await until(arrived(15));

// One feature of each kind, for tenants and for nobody.
const acme = (await context("acme")).passed;
assert.equal(unleash.isEnabled("ent.sso", acme), true);
assert.equal(unleash.isEnabled("ent.scim", acme), false);
assert.equal(said("support", acme), "gold");
assert.deepEqual(JSON.parse(said("branding", acme)), { color: "teal" });
const nobody = (await context("nobody")).passed;
for (const feature of ["sso", "seats", "support"]) assert.equal(said(feature, nobody), null);

// What the server hands to clients, all the while.
const states = new Set();
const tally = { agreed: 0, disagreed: 0, ungated: 0 };
let watching = true;
const watch = (async () => {
  while (watching) {
    const answer = await fetch(`${UNLEASH_URL}/api/client/features`, {
      headers: { Authorization: UNLEASH_BACKEND_TOKEN },
    });
    const { features } = await answer.json();
    const rules = (name) =>
      features
        .find((feature) => feature.name === name)
        .strategies.map((one) => `${one.variants.map((variant) => variant.payload.value)}`)
        .sort()
        .join("/");
    states.add(`${rules("ent.seats")} ${rules("ent.support")}`);
  }
})();
const compare = (async () => {
  while (watching) {
    const now = await context("acme");
    if (now !== null) {
      const { amount } = await check("acme", "seats", now.entRev);
      tally[said("seats", now.passed) === amount ? "agreed" : "disagreed"] += 1;
    }
    const newest = structuredClone(acme);
    newest.properties.entRev = "999999999";
    if (said("seats", newest) !== (await check("acme", "seats")).amount) tally.ungated += 1;
    await new Promise((done) => setTimeout(done, 5));
  }
})();

const before = await read("/v1/catalog");
const change = structuredClone(before.body);
Object.assign(change.plans.pro.grants, { seats: 20, support: "basic" });
await putCatalog(change);
await until(arrived(20));
await putCatalog(before.body);
await until(arrived(15));
watching = false;
await Promise.all([watch, compare]);
assert.equal(tally.disagreed, 0, JSON.stringify(tally));
assert.ok(tally.agreed > 100 && tally.ungated > 0, JSON.stringify(tally));
for (const state of states) {
  const [seats, support] = state.split(" ");
  const levels = (text) => text.split("/").length;
  assert.equal(levels(seats), levels(support), `a half of a change was seen: ${[...states]}`);
}
unleash.destroy();
console.error(`${tally.agreed} requests agreed, 0 disagreed; ${tally.ungated} would have without gates; ${states.size} states seen`);
console.log("ok");
process.exit(0);
