//! What is set up for a provider, and what of it is refused.

use std::{collections::BTreeMap, fmt};

use openidconnect::url::Url;

use crate::workflow::people::Role;
use entitlements_outbound::is_loopback;

/// Where the provider sends the browser back to, below the public address.
pub const CALLBACK_PATH: &str = "/v1/session/oidc/callback";

/// How people sign in by an identity provider.
#[derive(Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// The provider's address, exactly as it calls itself.
    pub issuer: String,
    /// What it calls this program.
    pub client_id: String,
    /// What this program proves itself with; absent where PKCE alone must do.
    pub client_secret: Option<String>,
    /// Where browsers find this program, such as `https://entitlements.example.com`.
    pub public_url: String,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that says a person's groups; `a.b` is `b` inside `a`.
    pub roles_claim: String,
    /// Which group gives which role.
    pub roles: BTreeMap<String, Role>,
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, client_id, client_secret, public_url, scopes, roles_claim, roles } =
            self;
        f.debug_struct("OidcConfig")
            .field("issuer", issuer)
            .field("client_id", client_id)
            .field("client_secret", &client_secret.as_ref().map(|_| "***"))
            .field("public_url", public_url)
            .field("scopes", scopes)
            .field("roles_claim", roles_claim)
            .field("roles", roles)
            .finish()
    }
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            public_url: String::new(),
            scopes: vec!["profile".into(), "email".into()],
            roles_claim: "groups".into(),
            roles: BTreeMap::new(),
        }
    }
}

impl OidcConfig {
    /// Goes on where nothing is wrong.
    ///
    /// # Errors
    /// What is wrong first, in one sentence that names the setting.
    pub fn check(&self) -> Result<(), String> {
        is_protected("issuer", &self.issuer)?;
        is_protected("public_url", &self.public_url)?;
        if self.client_id.is_empty() {
            return Err("`client_id` is missing: use the one that the provider gave".into());
        }
        if self.client_secret.as_ref().is_some_and(String::is_empty) {
            return Err("`client_secret` is empty: leave it out where there is none".into());
        }
        if self.roles_claim.is_empty() {
            return Err("`roles_claim` is empty: name a claim, such as `groups`".into());
        }
        if self.roles.is_empty() {
            return Err(
                "`roles` is empty, so that nobody could do anything: say which group has which \
                 role, such as `entitlements-admins = \"super_admin\"`"
                    .into(),
            );
        }
        Ok(())
    }

    /// Where the provider sends the browser back to.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK_PATH}", self.public_url.trim_end_matches('/'))
    }
}

/// Goes on where an address is one that nobody on the way reads or changes.
pub(super) fn is_protected(setting: &str, address: &str) -> Result<(), String> {
    let no_address = || {
        format!("`{setting} = \"{address}\"` is not an address: write it as `https://example.com`")
    };
    let url = Url::parse(address).map_err(|_| no_address())?;
    let host = url.host_str().ok_or_else(no_address)?;
    match url.scheme() {
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
            Err(format!("`{setting} = \"{address}\"` must end with its path: leave the rest out"))
        }
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        "http" => Err(format!(
            "`{setting} = \"{address}\"` is not protected: use `https://` for other machines"
        )),
        _ => Err(no_address()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> OidcConfig {
        OidcConfig {
            issuer: "https://id.example.com".into(),
            client_id: "entitlements".into(),
            client_secret: Some("hush".into()),
            public_url: "https://entitlements.example.com/".into(),
            roles: [("admins".into(), Role::SuperAdmin)].into(),
            ..OidcConfig::default()
        }
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(config().check(), Ok(()));
        let with = |change: fn(&mut OidcConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err()
        };
        assert!(with(|c| c.issuer = "id.example.com".into()).contains("`issuer"));
        assert!(with(|c| c.issuer = "http://id.example.com".into()).contains("protected"));
        assert!(with(|c| c.issuer = "http://127.0.0.1.example.com".into()).contains("protected"));
        assert!(with(|c| c.issuer = "https://id.example.com/?a".into()).contains("its path"));
        assert!(with(|c| c.issuer = "ftp://id.example.com".into()).contains("not an address"));
        assert!(with(|c| c.public_url = "http://10.0.0.1".into()).contains("`public_url"));
        assert!(with(|c| c.client_id.clear()).contains("`client_id`"));
        assert!(with(|c| c.client_secret = Some(String::new())).contains("`client_secret`"));
        assert!(with(|c| c.roles_claim.clear()).contains("`roles_claim`"));
        assert!(with(|c| c.roles.clear()).contains("`roles`"));
    }

    #[test]
    fn this_machine_needs_no_protection() {
        for issuer in ["http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000"] {
            assert_eq!(
                OidcConfig { issuer: issuer.into(), ..config() }.check(),
                Ok(()),
                "{issuer}"
            );
        }
    }

    #[test]
    fn the_way_back_is_below_the_public_address_and_the_secret_in_no_log() {
        let way_back = "https://entitlements.example.com/v1/session/oidc/callback";
        assert_eq!(config().redirect_uri(), way_back);
        assert!(!format!("{:?}", config()).contains("hush"));
    }
}
