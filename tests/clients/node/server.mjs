// The OpenFeature server SDK with its OFREP provider: one request per evaluation.

import assert from "node:assert/strict";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

import { SIDECAR_URL, overrideSeats } from "./admin.mjs";

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: SIDECAR_URL }));
const client = OpenFeature.getClient();
const acme = { targetingKey: "acme" };

// One feature of each kind.
const sso = await client.getBooleanDetails("sso", false, acme);
assert.equal(sso.value, true);
assert.equal(sso.reason, "TARGETING_MATCH");
assert.equal(sso.errorCode, undefined);
assert.equal((await client.getNumberDetails("seats", 1, acme)).value, 15);
assert.equal((await client.getStringDetails("support", "?", acme)).value, "gold");
assert.deepEqual((await client.getObjectDetails("branding", {}, acme)).value, { color: "teal" });

// A denial is an answer, not the default in the caller's code.
const denied = await client.getBooleanDetails("scim", true, acme);
assert.equal(denied.value, false);
assert.equal(denied.errorCode, undefined);
const stranger = await client.getBooleanDetails("sso", true, { targetingKey: "nobody" });
assert.equal(stranger.value, false);

// What the catalog does not know is an error, and gives the default.
const unknown = await client.getBooleanDetails("no-such-feature", true, acme);
assert.equal(unknown.errorCode, "FLAG_NOT_FOUND");
assert.equal(unknown.value, true);

// Without a tenant there is nobody to answer for.
const nobody = await client.getNumberDetails("seats", 7, {});
assert.equal(nobody.errorCode, "TARGETING_KEY_MISSING");
assert.equal(nobody.value, 7);

// A change made in the admin arrives.
await overrideSeats(25);
let seats;
do seats = await client.getNumberValue("seats", 0, acme);
while (seats === 15);
assert.equal(seats, 25);

await OpenFeature.close();
console.log("ok");
