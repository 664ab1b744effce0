//! Real `OpenFeature` clients, from npm and `PyPI`, against a running admin and sidecar.
//!
//! `cargo xtask test --install` fetches them. Where they are missing, a test says so and is
//! skipped; under `CI=true`, and after `--install`, it fails instead.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    time::Duration,
};

use entitlements_admin::{Admin, app, workflow::settings::ApprovalSetting};
use entitlements_core::document::Document;
use entitlements_sidecar::Sidecar;
use tokio::runtime::Runtime;

#[cfg(test)]
#[path = "../entitlements-admin/tests/support/postgres.rs"]
mod postgres;
#[cfg(test)]
#[path = "support/unleash.rs"]
mod unleash;

const CATALOG: &str = r#"
    [features]
    sso = { kind = "switch" }
    scim = { kind = "switch" }
    seats = { kind = { limit = { unit = "seat" } } }
    support = { kind = { level = { levels = ["basic", "gold"] } } }
    branding = { kind = { config = { schema = { type = "object" } } } }

    [plans.pro]
    grants = { sso = true, seats = 15, support = "gold", branding = { color = "teal" } }

    [tenants.acme]
    subscriptions = [{ plan = "pro" }]
"#;

#[test]
fn the_node_server_sdk_works() {
    node("server.mjs");
}

#[test]
fn the_web_sdk_works() {
    node("web.mjs");
}

#[test]
fn the_flagd_provider_of_node_sees_only_before_and_after_and_agrees_with_checks() {
    node("flagd.mjs");
}

#[test]
fn the_unleash_sdk_sees_only_before_and_after_and_agrees_with_checks() {
    let name = "Unleash";
    let packages = fetched("unleash");
    if !packages.join("node_modules").is_dir() {
        return skip(name, NOT_FETCHED);
    }
    let Some(database) = postgres::database() else { return };
    let runtime = Runtime::new().unwrap();
    let unleash = runtime.block_on(unleash::Unleash::start(&packages, &database));
    let secrets = tempfile::tempdir().unwrap();
    let (token, client_token) = (secrets.path().join("token"), secrets.path().join("client"));
    fs::write(&token, &unleash.token).unwrap();
    fs::write(&client_token, unleash::BACKEND_TOKEN).unwrap();
    // The tests' client asks every second, and the server looks once a second.
    let sinks = format!(
        "[sinks.unleash]\nkind = \"unleash\"\nurl = \"{}\"\ntoken_file = \"{}\"\n\
         client_token_file = \"{}\"\nsettles_in_s = 5\ncheck_every_s = 5\n",
        unleash.url,
        token.display(),
        client_token.display()
    );
    let world = World::start(&sinks);
    let more =
        [("UNLEASH_URL", unleash.url.as_str()), ("UNLEASH_BACKEND_TOKEN", unleash::BACKEND_TOKEN)];
    let script = node_script("unleash.mjs");
    drive(name, Path::new("node"), &script, &world, &more);
}

#[test]
fn the_flagd_provider_of_python_says_what_checks_say() {
    let python = fetched("python").join("env").join("bin").join("python");
    run("Python flagd client", &python, &python, &source("python").join("flagd.py"));
}

#[test]
fn the_python_sdk_works() {
    let python = fetched("python").join("env").join("bin").join("python");
    run("Python client", &python, &python, &source("python").join("client.py"));
}

fn node(script: &str) {
    let packages = fetched("node").join("node_modules");
    run(&format!("Node client {script}"), &packages, Path::new("node"), &node_script(script));
}

/// A script beside its packages.
fn node_script(script: &str) -> PathBuf {
    // Node looks for packages beside the script.
    static COPIED: Once = Once::new();
    let folder = fetched("node");
    let packages = folder.join("node_modules");
    if packages.is_dir() {
        COPIED.call_once(|| {
            for file in ["admin.mjs", "flagd.mjs", "server.mjs", "unleash.mjs", "web.mjs"] {
                fs::copy(source("node").join(file), folder.join(file)).unwrap();
            }
        });
    }
    folder.join(script)
}

/// Runs a client's script, where what it needs is there.
fn run(name: &str, needs: &Path, program: &Path, script: &Path) {
    if !needs.exists() {
        return skip(name, NOT_FETCHED);
    }
    drive(name, program, script, &World::start(""), &[]);
}

const NOT_FETCHED: &str = "its packages are not fetched; `cargo xtask test --install` does that";

/// Runs a client's script against a world.
fn drive(name: &str, program: &Path, script: &Path, world: &World, more: &[(&str, &str)]) {
    let ran = Command::new(program)
        .arg(script)
        .env("SIDECAR_URL", &world.sidecar_url)
        .env("ADMIN_URL", &world.admin_url)
        .env("ADMIN_KEY", &world.key)
        .env("FLAGD_GRPC", &world.flagd_grpc)
        .env("FLAGD_FILE", &world.flagd_file)
        .env("PATIENCE_S", "150")
        .envs(more.iter().copied())
        .output();
    let output = match ran {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return skip(name, &format!("`{}` is not installed", program.display()));
        }
        ran => ran.unwrap(),
    };
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    assert_eq!(out.trim(), "ok", "{name} did not come to its end\n{err}");
}

/// An admin and a sidecar in this process, each on a free port.
struct World {
    admin_url: String,
    sidecar_url: String,
    flagd_grpc: String,
    flagd_file: PathBuf,
    key: String,
    // Dropped from top to bottom: first those who run, then what they run in, then their folder.
    _sidecar: entitlements_sidecar::Running,
    _admin: entitlements_admin::Running,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    /// With more sinks than the file for flagd.
    fn start(sinks: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (admin, sidecar) = runtime.block_on(Self::start_both(folder.path(), sinks));
        Self {
            admin_url: format!("http://{}", admin.addr()),
            sidecar_url: format!("http://{}", sidecar.addr()),
            flagd_grpc: sidecar.flagd_grpc_addr().unwrap().to_string(),
            flagd_file: folder.path().join("flags.json"),
            key: admin.first_key().unwrap().to_owned(),
            _sidecar: sidecar,
            _admin: admin,
            _runtime: runtime,
            _folder: folder,
        }
    }

    async fn start_both(
        folder: &Path,
        more: &str,
    ) -> (entitlements_admin::Running, entitlements_sidecar::Running) {
        let free = ([127, 0, 0, 1], 0).into();
        let admin = Admin::start(entitlements_admin::Config {
            listen: free,
            data: folder.join("admin"),
            ..Default::default()
        })
        .await
        .unwrap();
        let document = Document::parse("clients.toml", CATALOG).unwrap();
        let import = app::Command::ImportAll {
            draft: Box::new(document.catalog),
            tenants: document.tenants,
        };
        let imported = admin.app().execute(&app::Actor::local("test"), import).await.unwrap();
        let setting = ApprovalSetting { four_eyes: false, approvals: 1, threshold: u64::MAX };
        let freely = app::Command::SetApproval { setting, expected: app::Expected::Any };
        admin.app().execute(&app::Actor::local("test"), freely).await.unwrap();
        let (sinks, flags) = (folder.join("sinks.toml"), folder.join("flags.json"));
        // Clients look at the file every five seconds.
        let text =
            format!("[sinks.flags]\nkind = \"flagd-file\"\npath = \"{}\"\n{more}", flags.display());
        fs::write(&sinks, text).unwrap();
        let (url, key) = (format!("http://{}", admin.addr()), admin.first_key().unwrap());
        let sidecar = Sidecar::start(entitlements_sidecar::Config {
            listen: free,
            flagd_grpc: Some(free),
            sinks: Some(sinks),
            ..entitlements_sidecar::Config::new(url, key, admin.trust(), folder.join("sidecar"))
        })
        .await
        .unwrap();
        sidecar.wait_revision(imported.revision, Duration::from_secs(20)).await.unwrap();
        for _ in 0..400 {
            if flags.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (admin, sidecar)
    }
}

/// Says that a test was skipped, in the words that `cargo xtask test` looks for.
#[expect(clippy::disallowed_methods, reason = "the environment says whether skipping is allowed")]
fn skip(name: &str, why: &str) {
    let wanted = env::var("CI").is_ok_and(|ci| ci == "true")
        || env::var("ENTITLEMENTS_CLIENTS").is_ok_and(|clients| clients == "required");
    assert!(!wanted, "{name}: {why}");
    let line = format!("skipped: {name}: {why}\n");
    // Not `eprintln!`: that would be hidden, because the test passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Where `cargo xtask test --install` puts packages: three above this test is the target folder.
fn fetched(folder: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("clients").join(folder)
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(folder)
}
