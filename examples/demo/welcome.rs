//! What the demo says once both daemons are up: where they are, and what to try.

use std::{fmt, net::SocketAddr};

use entitlements_core::{Limit, Revision, Verdict};

use crate::tenants::ACME;

/// The feature that the commands ask for and change.
const ASKED: &str = "storage";
/// A feature with winners and losers to explain.
const EXPLAINED: &str = "eligibility-checks";

/// The text, as its [`fmt::Display`].
pub(crate) struct Welcome<'t> {
    admin: SocketAddr,
    sidecar: SocketAddr,
    key: &'t str,
    tenants: usize,
    revision: Revision,
    /// What the change in the commands makes of [`ASKED`].
    raised: u64,
}

impl<'t> Welcome<'t> {
    pub(crate) fn new(
        admin: &entitlements_admin::Running,
        sidecar: &entitlements_sidecar::Running,
        key: &'t str,
    ) -> Self {
        let pin = admin.app().pin();
        let present = match pin.check(ACME, ASKED, admin.app().now()).verdict() {
            Verdict::Limit(Limit::AtMost(amount)) => amount,
            _ => 0,
        };
        Self {
            admin: admin.addr(),
            sidecar: sidecar.addr(),
            key,
            tenants: pin.tenant_count(),
            revision: pin.revision(),
            raised: present + 50,
        }
    }
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { admin, sidecar, key, tenants, revision, raised } = self;
        let check = format!(
            "curl -s http://{sidecar}/v1/check -d '{{\"tenant\":\"{ACME}\",\"feature\":\"{ASKED}\"}}'"
        );
        write!(
            f,
            "
Admin     http://{admin}
Sidecar   http://{sidecar}
Key       {key}
Serving   {tenants} tenants at revision {revision}

Try these in another terminal:

1. How much {ASKED} may {ACME} use, and why?
   {check}

2. Why so many {EXPLAINED}? The answer names what lost, too.
   curl -s http://{sidecar}/v1/explain -d '{{\"tenant\":\"{ACME}\",\"feature\":\"{EXPLAINED}\"}}'

3. Everything that {ACME} may use.
   curl -s http://{sidecar}/v1/tenants/{ACME}/entitlements

4. A change in the admin: an operator gives {ACME} {raised} of {ASKED}.
   curl -s -H 'Authorization: Bearer {key}' http://{admin}/v1/tenants/{ACME} \\
     | sed 's/\"amount\":[0-9]*/\"amount\":{raised}/' \\
     | curl -s -X PUT -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
       --data-binary @- http://{admin}/v1/tenants/{ACME}

5. The first question again. The change has arrived at the sidecar.
   {check}

Ctrl-C stops both. A second start finds everything as it was left.
"
        )
    }
}
