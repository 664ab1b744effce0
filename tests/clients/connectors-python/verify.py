"""Receivers of webhooks: two libraries say whether a delivery is signed as it should be.

In: `secret`, `headers`, `body`. Out: for each library `true`, or why it refused.
"""

import standardwebhooks
import svix
from lines import answer_lines, text_of


def verify(webhook, delivery):
    try:
        webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
        return True
    except Exception as error:
        return text_of(error)


answer_lines(
    lambda delivery: {
        "standardwebhooks": verify(standardwebhooks.Webhook, delivery),
        "svix": verify(svix.Webhook, delivery),
    }
)
