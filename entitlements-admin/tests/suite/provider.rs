//! People who come in by an identity provider, through the API, from the settings' file on.

use std::fs;

use entitlements_admin::{Admin, Config, config};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    oidc::{PUBLIC_URL, Provider, SECRET},
    support::{self, ACME, Answer, Client, World},
};

/// A control plane that is set up as `--oidc` sets it up.
async fn world(provider: &Provider) -> World {
    let folder = TempDir::new().unwrap();
    let (file, secret) = (folder.path().join("oidc.toml"), folder.path().join("oidc.secret"));
    fs::write(secret, format!("{SECRET}\n")).unwrap();
    let text = format!(
        r#"issuer = "{}"
client_id = "entitlements"
client_secret_file = "oidc.secret"
scopes = ["profile", "email", "groups"]
[roles]
admins = "super_admin"
readers = "auditor"
"#,
        provider.issuer
    );
    fs::write(&file, text).unwrap();
    let config = Config {
        public_url: Some(PUBLIC_URL.into()),
        oidc: Some(config::oidc(&file, Some(PUBLIC_URL)).unwrap()),
        ..support::config(folder.path())
    };
    let running = Admin::start(config).await.unwrap();
    let admin = Client::new(running.addr(), running.first_key());
    World { running, folder, admin }
}

/// What one browser has of a sign-in that it has begun.
struct Begun {
    nobody: Client,
    away: String,
    query: String,
}

impl Begun {
    async fn new(world: &World, provider: &Provider, login: &str) -> Self {
        let nobody = Client::new(world.running.addr(), None);
        let left = nobody.get("/v1/session/oidc?return_to=%2Fdrafts%3Ftab%3Dmine").await;
        assert_eq!(left.status, 303, "{}", left.text());
        let cookie = left.header("set-cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        let away = cookie.split(';').next().unwrap().to_owned();
        let query = provider.browser().walk(left.header("location"), login).await;
        Self { nobody, away, query }
    }

    async fn end(&self) -> Answer {
        self.end_with(&self.away).await
    }

    async fn end_with(&self, cookie: &str) -> Answer {
        let path = format!("/v1/session/oidc/callback?{}", self.query);
        self.nobody.send("GET", &path, &[("cookie", cookie)], "").await
    }
}

/// Somebody who is in.
struct Person {
    client: Client,
    cookie: String,
    who: Value,
}

impl Person {
    async fn sign_in(world: &World, provider: &Provider, login: &str) -> Self {
        let begun = Begun::new(world, provider, login).await;
        let back = begun.end().await;
        assert_eq!((back.status, back.header("location")), (303, "/drafts?tab=mine"));
        let cookies = || back.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap());
        let cookie = cookies().find(|cookie| cookie.starts_with("entitlements=")).unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        assert!(cookies().any(|c| c.starts_with("entitlements-away=;")), "it is forgotten");
        let client = begun.nobody;
        let who = client.send("GET", "/v1/session", &[("cookie", &cookie)], "").await;
        assert_eq!(who.status, 200, "{}", who.text());
        Self { client, cookie, who: who.json() }
    }

    async fn put_acme(&self) -> Answer {
        let headers = [
            ("cookie", &*self.cookie),
            ("x-csrf-token", self.who["csrf"].as_str().unwrap()),
            ("content-type", "application/json"),
        ];
        self.client.send("PUT", "/v1/tenants/acme", &headers, ACME).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_works_here_with_the_roles_that_the_provider_gives() {
    let Some(provider) = Provider::start().await else { return };
    provider.order(json!({"provider": {"says_everything": true}})).await;
    let world = world(&provider).await;
    let toml = [("content-type", "application/toml")];
    let catalog = world.admin.send("PUT", "/v1/catalog", &toml, support::CATALOG).await;
    assert_eq!(catalog.status, 200, "{}", catalog.text());

    let ada = Person::sign_in(&world, &provider, "ada").await;
    assert_eq!(ada.put_acme().await.status, 200);
    let audit = world.admin.get("/v1/audit?limit=1").await.json();
    assert_eq!(audit["entries"][0]["actor"], ada.who["actor"], "{audit}");

    // The provider's word of today counts, for the same person.
    provider.order(json!({"claims": {"groups": ["readers"]}})).await;
    let lesser = Person::sign_in(&world, &provider, "ada").await;
    assert_eq!(lesser.who["user"], ada.who["user"]);
    lesser.put_acme().await.is_problem(403, "forbidden");
    ada.put_acme().await.is_problem(403, "forbidden");
    let users = world.admin.get("/v1/users").await.json();
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    assert_eq!(users["users"][0]["roles"], json!(["auditor"]), "{users}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_for_once_and_for_the_browser_that_left() {
    let Some(provider) = Provider::start().await else { return };
    let world = world(&provider).await;
    let other = Begun::new(&world, &provider, "ada").await;
    let begun = Begun::new(&world, &provider, "ada").await;
    begun.end_with(&other.away).await.is_problem(401, "sign_in_failed");
    // Whatever came of it, it is over.
    begun.end().await.is_problem(401, "sign_in_failed");
    assert_eq!(other.end().await.status, 303);
    other.end().await.is_problem(401, "sign_in_failed");
    let eve = Begun::new(&world, &provider, "eve").await.end().await;
    eve.is_problem(401, "sign_in_failed");
    let session = eve.headers.get_all("set-cookie").iter().count();
    assert_eq!(session, 0, "{:?}", eve.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_was_invited_is_the_same_person_and_shut_out_when_disabled() {
    let Some(provider) = Provider::start().await else { return };
    let world = world(&provider).await;
    let wanted = r#"{"email":"ada@example.com","name":"Ada","roles":["analyst"]}"#;
    let made = world.admin.post("/v1/users", wanted).await.json();
    let ada = Person::sign_in(&world, &provider, "ada").await;
    assert_eq!(ada.who["user"], made["id"]);

    let user = format!("/v1/users/{}", made["id"].as_str().unwrap());
    let now = world.admin.get(&user).await;
    let headers = [("content-type", "application/json"), ("if-match", now.header("etag"))];
    let disabled = world.admin.send("PATCH", &user, &headers, r#"{"disabled":true}"#).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    let refused = Begun::new(&world, &provider, "ada").await.end().await;
    refused.is_problem(409, "refused");
}

#[test]
fn a_mistake_in_the_settings_is_told_with_the_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("oidc.toml");
    let told = |text: &str| {
        fs::write(&file, text).unwrap();
        config::oidc(&file, Some(PUBLIC_URL)).unwrap_err().to_string()
    };
    let right =
        "issuer = \"https://id.example.com\"\nclient_id = \"e\"\nroles = { a = \"auditor\" }\n";
    fs::write(&file, right).unwrap();
    assert!(config::oidc(&file, Some(PUBLIC_URL)).is_ok());
    for (text, why) in [
        ("issuer = 1", "issuer"),
        ("client_id = \"e\"\nroles = {}", "issuer"),
        (&*right.replace("auditor", "king"), "king"),
        (&*format!("client_secret = \"here\"\n{right}"), "client_secret"),
        (&*format!("client_secret_file = \"not-there\"\n{right}"), "not-there"),
        (&*right.replace("https", "http"), "not protected"),
    ] {
        let told = told(text);
        assert!(told.contains(why) && told.contains("--oidc"), "{text}: {told}");
    }
    let nowhere = config::oidc(&file, None).unwrap_err().to_string();
    assert!(nowhere.contains("--public-url"), "{nowhere}");
}
