// Receivers of webhooks: two libraries say whether a delivery is signed as it should be.
//
// In: `secret`, `headers`, `body`. Out: for each library `true`, or why it refused.

import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { answerLines, textOf } from "./lines.mjs";

function verify(Webhook, { secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    return textOf(error);
  }
}

await answerLines((delivery) => ({
  standardwebhooks: verify(StandardWebhook, delivery),
  svix: verify(SvixWebhook, delivery),
}));
