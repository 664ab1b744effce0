// The OpenFeature web SDK with its OFREP provider: everything at once, then events.

import assert from "node:assert/strict";

import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { EventSource } from "eventsource";

import { SIDECAR_URL, overrideSeats } from "./admin.mjs";

globalThis.EventSource = EventSource;

// Every request that the provider makes, and a promise for the first that is answered with 304.
const requests = [];
let unchanged;
const sawUnchanged = new Promise((resolve) => (unchanged = resolve));
async function fetchImplementation(input, init) {
  const request = new Request(input, init);
  const condition = request.headers.get("if-none-match");
  const response = await fetch(request);
  requests.push({ url: request.url, condition, status: response.status });
  if (response.status === 304) unchanged();
  return response;
}

await OpenFeature.setContext({ targetingKey: "acme" });
await OpenFeature.setProviderAndWait(
  new OFREPWebProvider({
    baseUrl: SIDECAR_URL,
    cacheMode: "disabled",
    pollInterval: 0,
    fetchImplementation,
  }),
);
const client = OpenFeature.getClient();

// One feature of each kind, all from one request.
assert.equal(client.getBooleanDetails("sso", false).value, true);
assert.equal(client.getNumberDetails("seats", 1).value, 15);
assert.equal(client.getStringDetails("support", "?").value, "gold");
assert.deepEqual(client.getObjectDetails("branding", {}).value, { color: "teal" });
assert.equal(client.getBooleanDetails("scim", true).value, false);
assert.equal(requests[0].status, 200);

const unknown = client.getBooleanDetails("no-such-feature", true);
assert.equal(unknown.errorCode, "FLAG_NOT_FOUND");
assert.equal(unknown.value, true);

// The event on connect makes the provider ask again. Nothing has changed.
await sawUnchanged;
const again = requests.find((request) => request.status === 304);
assert.ok(again.condition, "it was asked with the tag of the first answer");

// A change made in the admin arrives by an event.
const changed = new Promise((resolve) =>
  client.addHandler(ProviderEvents.ConfigurationChanged, resolve),
);
await overrideSeats(25);
const details = await changed;
assert.deepEqual(details.flagsChanged, ["seats"]);
assert.equal(client.getNumberValue("seats", 0), 25);
const last = requests.at(-1);
assert.equal(last.status, 200);
assert.ok(last.url.includes("flagConfigEtag="), "an event made it ask, nothing else");
assert.ok(requests.length <= 6, `${requests.length} requests are polling`);

await OpenFeature.close();
console.log("ok");
process.exit(0);
