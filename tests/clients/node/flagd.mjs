// flagd's own client, which evaluates in the process: over gRPC, and from a file that it looks at
// every few seconds. Within one request, flag and check never disagree.

import assert from "node:assert/strict";
import { OpenFeature } from "@openfeature/server-sdk";
import { FlagdProvider } from "@openfeature/flagd-provider";
import { read, putCatalog, waitFor } from "./admin.mjs";

const { SIDECAR_URL, FLAGD_GRPC, FLAGD_FILE } = process.env;
const [host, port] = FLAGD_GRPC.split(":");

const overGrpc = new FlagdProvider({ resolverType: "in-process", host, port: Number(port) });
const fromFile = new FlagdProvider({ resolverType: "in-process", offlineFlagSourcePath: FLAGD_FILE });
await OpenFeature.setProviderAndWait("grpc", overGrpc);
await OpenFeature.setProviderAndWait("file", fromFile);
const [grpc, file] = [OpenFeature.getClient("grpc"), OpenFeature.getClient("file")];

async function context(tenant) {
  const answer = await fetch(`${SIDECAR_URL}/v1/tenants/${tenant}/flag-context`);
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

async function check(tenant, feature, revision) {
  const answer = await fetch(`${SIDECAR_URL}/v1/check`, {
    method: "POST",
    headers: { "entitlements-at": String(revision) },
    body: JSON.stringify({ tenant, feature }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

// Flags and checks agree about nothing until clients have surely read the first ones.
await waitFor(async () => (await fetch(`${SIDECAR_URL}/v1/tenants/acme/flag-context`)).ok, 20_000);

// One feature of each kind.
let acme = await context("acme");
assert.deepEqual([acme.targetingKey, acme.plan], ["acme", "pro"]);
const sso = await grpc.getBooleanDetails("sso", false, acme);
assert.deepEqual([sso.value, sso.variant, sso.errorCode], [true, "on", undefined]);
assert.equal((await grpc.getNumberDetails("seats", 1, acme)).value, 15);
assert.equal((await grpc.getStringDetails("support", "?", acme)).value, "gold");
assert.deepEqual((await grpc.getObjectDetails("branding", {}, acme)).value, { color: "teal" });
// A denial is an answer, and whoever is no tenant gets nothing.
assert.equal((await grpc.getBooleanDetails("scim", true, acme)).value, false);
const nobody = await context("nobody");
assert.equal((await grpc.getNumberDetails("seats", 1, nobody)).value, 0);

// All of a change arrives at once: nobody sees a half of it.
const seen = new Set();
let watching = true;
const watch = (async () => {
  while (watching) {
    // Whoever passes the newest revision goes by the newest rules that have arrived.
    const newest = { ...acme, entRev: 1e9 };
    const [a, b] = [
      grpc.getNumberDetails("seats", 0, newest),
      grpc.getStringDetails("support", "?", newest),
    ];
    seen.add(`${(await a).value} ${(await b).value}`);
    await new Promise((done) => setImmediate(done));
  }
})();

// Flag and check of one request, all the while: with a file, the client lags by seconds.
const tally = { agreed: 0, disagreed: 0, ungated: 0, revisions: new Set() };
const compare = (async () => {
  while (watching) {
    const passed = await context("acme");
    const flag = (await file.getNumberDetails("seats", -1, passed)).value;
    const { amount } = await check("acme", "seats", passed.entRev);
    if (flag === amount) tally.agreed += 1;
    else tally.disagreed += 1;
    tally.revisions.add(passed.entRev);
    // The same without a gate: what the client happens to have against what is served now.
    const now = await (
      await fetch(`${SIDECAR_URL}/v1/check`, {
        method: "POST",
        body: JSON.stringify({ tenant: "acme", feature: "seats" }),
      })
    ).json();
    const any = (await file.getNumberDetails("seats", -1, { ...passed, entRev: 1e9 })).value;
    if (any !== now.amount) tally.ungated += 1;
    await new Promise((done) => setTimeout(done, 5));
  }
})();

const before = await read("/v1/catalog");
const change = structuredClone(before.body);
Object.assign(change.plans.pro.grants, { seats: 20, support: "basic" });
const settled = (seats) => async () => {
  const passed = await context("acme");
  const { amount } = await check("acme", "seats", passed.entRev);
  return amount === seats && (await file.getNumberDetails("seats", -1, passed)).value === seats;
};
await putCatalog(change);
await waitFor(settled(20), 40_000);
// And back again.
await putCatalog(before.body);
await waitFor(settled(15), 40_000);
watching = false;
await Promise.all([watch, compare]);
assert.deepEqual([...seen].sort(), ["15 gold", "20 basic"], "only before and after");
assert.equal(tally.disagreed, 0, JSON.stringify(tally));
assert.ok(tally.agreed > 200, JSON.stringify(tally));
assert.ok(tally.ungated > 0, "the gate would not be needed");
console.error(
  `${tally.agreed} requests agreed, 0 disagreed; ${tally.ungated} would have without gates`,
);
await OpenFeature.close();
console.log("ok");
process.exit(0);
