//! The catalog in files: the real program on real folders, against files and a live control plane.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::{
    program::program,
    support::{DEADLINE, World},
};

const FEATURES: &str = "[features.seats]\nkind = { limit = { unit = \"seat\" } }\n";
const PLANS: &str = "[plans.pro]\nname = \"Pro\"\ngrants = { seats = 20 }\n";
const TENANTS: &str = "[tenants.acme]\nsubscriptions = [{ plan = \"pro\" }]\n";

/// A folder of files, and what it takes to run commands on it.
struct Files {
    folder: TempDir,
    url: String,
    token: String,
}

/// What a command told.
#[derive(Debug)]
struct Told {
    code: i32,
    out: String,
    error: String,
}

impl Told {
    #[track_caller]
    fn is(self, code: i32, says: &str) -> Self {
        let said = self.out.contains(says) || self.error.contains(says);
        assert!(self.code == code && said, "expected {code} and `{says}`: {self:#?}");
        self
    }
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let all =
            Self { folder: TempDir::new().unwrap(), url: String::new(), token: String::new() };
        files.iter().for_each(|(name, text)| all.write(name, text));
        all
    }

    /// The usual files, and a control plane that has nothing yet.
    async fn live() -> (Self, World) {
        let world = World::new().await;
        let files = Self::new(&[("c/features.toml", FEATURES), ("c/plans.toml", PLANS)]);
        let url = format!("http://{}", world.admin.addr);
        let token = world.admin.token.clone().unwrap();
        (Self { url, token, ..files }, world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Every file with its text, by name.
    fn all(&self, folder: &str) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut all: Vec<_> =
            entries.map(|path| (name(&path), fs::read_to_string(path).unwrap())).collect();
        all.sort();
        all
    }

    /// Runs `catalog` with arguments in the folder; `URL` stands for the control plane.
    async fn run(&self, arguments: &str) -> Told {
        let arguments = arguments.replace("URL", &self.url);
        let arguments: Vec<_> =
            ["catalog"].into_iter().chain(arguments.split_whitespace()).collect();
        let mut command = program(&arguments);
        command.current_dir(self.folder.path()).env("ENTITLEMENTS_KEY", &self.token);
        let output = timeout(DEADLINE, command.output()).await.expect("it ends").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Told { code, out: text(output.stdout), error: text(output.stderr) }
    }
}

/// A control plane with an empty catalog of revision 7, that takes one change and never says so.
/// Gives what was sent with it.
async fn forgetful(listener: &TcpListener) -> String {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        if head.starts_with("PUT /v1/catalog ") {
            return head;
        }
        assert!(head.starts_with("GET /v1/catalog "), "{head}");
        // Said, because a change that is sent over a connection that is just closing never comes here.
        let close = "connection: close\r\n";
        let answer =
            format!("HTTP/1.1 200 OK\r\netag: \"7\"\r\n{close}content-length: 2\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Lets changes through without somebody else's approval.
async fn without_approval(world: &World) {
    let setting = r#"{"four_eyes":false,"approvals":1,"threshold":1000}"#;
    assert_eq!(world.admin.put("/v1/settings/approval", setting).await.status, 200);
}

#[tokio::test]
async fn a_folder_is_one_catalog_and_each_mistake_has_its_place() {
    let files = Files::new(&[
        ("c/features.toml", FEATURES),
        ("c/more/plans.toml", PLANS),
        ("c/.hidden.toml", "["),
    ]);
    files.run("validate c").await.is(0, "c: ok");
    files.run("check c").await.is(0, "c: ok");
    files
        .run("validate c/more/plans.toml")
        .await
        .is(1, "c/more/plans.toml:3: plans.pro.grants.seats");

    files.write("c/z.toml", "\n[plans.pro]\n[plans.x]\nextends = \"y\"\n");
    let told = files.run("validate c").await.is(1, "1 problem found");
    let twice = "c/z.toml:2: plans.pro: it stands in `c/more/plans.toml:1` too";
    assert!(told.error.contains(twice), "{told:?}");
    files.write("c/z.toml", "[plans.x]\nextends = \"y\"\n");
    files.run("validate c").await.is(1, "c/z.toml:2: plans.x.extends: ");
    files.run("validate nothing").await.is(1, "`nothing`: ");
    files.run("validate").await.is(64, "<PATH>");
}

#[tokio::test]
async fn expectations_may_use_the_other_files_of_a_folder() {
    let expect = |answer: u32| {
        format!(
            "{TENANTS}\n[[expect]]\nat = 2026-03-01T00:00:00Z\ntenant = \"acme\"\n\
             feature = \"seats\"\nanswer = {answer}\n"
        )
    };
    let files = Files::new(&[("c/features.toml", FEATURES), ("c/plans.toml", PLANS)]);
    files.run("test c").await.is(0, "nothing is expected");
    files.write("c/tests/acme.toml", &expect(20));
    files.run("test c").await.is(0, "c: 1 passed, 0 failed");
    files.write("c/tests/acme.toml", &expect(21));
    let told = files.run("test c").await.is(1, "1 expectation was not met");
    assert!(told.out.contains("c/tests/acme.toml:4: FAIL "), "{told:?}");
    files.write("c/plans.toml", "[plans.pro]\nextends = \"x\"\n");
    files.run("test c").await.is(1, "c/plans.toml:2: plans.pro.extends");
}

#[tokio::test]
async fn a_plan_against_files_tells_the_change_and_whom_it_touches() {
    let files = Files::new(&[
        ("old/features.toml", FEATURES),
        ("old/plans.toml", PLANS),
        ("new/all.toml", &format!("{FEATURES}{PLANS}")),
        ("tenants.toml", TENANTS),
    ]);
    files.run("plan new --against old").await.is(0, "Nothing would change");
    files.write("new/all.toml", &format!("{FEATURES}{}", PLANS.replace("20", "15")));
    let told = files.run("plan new --against old").await.is(2, "1 change to old");
    assert!(told.out.contains("\n~ plans.pro.grants.seats: 20 -> 15\n"), "{told:?}");
    assert!(!told.out.contains('\u{1b}'), "no colours off a terminal: {told:?}");

    let at = "--at 2026-03-01T00:00:00Z";
    let told = files.run(&format!("plan new --against old --tenants tenants.toml {at}")).await;
    let told = told.is(2, "1 of 1 tenants get other answers, 1 lose something");
    assert!(told.out.contains("  seats: 1 lowered\n"), "{told:?}");

    let json =
        files.run(&format!("plan new --against old --tenants tenants.toml {at} --json")).await;
    let plan: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(plan["changes"][0]["path"], "plans.pro.grants.seats");
    assert_eq!(plan["impact"]["instants"][0]["impact"]["all"]["features"]["seats"]["lowered"], 1);

    // Later instants are told where they bring something else.
    let later = "[[plans.pro.versions]]\nfrom = 2026-06-01T00:00:00Z\n\
                 existing_from = 2026-07-01T00:00:00Z\ngrants = { seats = 30 }\n";
    files.write("new/all.toml", &format!("{FEATURES}{PLANS}{later}"));
    let told = files.run(&format!("plan new --against old --tenants tenants.toml {at}")).await;
    let told = told.is(2, "From 2026-07-01T00:00:00Z, when plan:pro has a version for existing");
    assert!(told.out.contains("At once:\n  0 of 1 tenants"), "{told:?}");
    assert!(!told.out.contains("From 2026-06-01"), "it is the same as before: {told:?}");

    files.write("new/all.toml", "[plans.pro]\nextends = \"x\"\n");
    files.run("plan new --against old").await.is(1, "new/all.toml:2: plans.pro.extends");
    files.run("plan old --against nothing").await.is(1, "`nothing`");
    files.run("plan old").await.is(64, "--against");
    files.run(&format!("plan old --against new {at}")).await.is(64, "--tenants");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_planned_before_and_nothing_to_do_after() {
    let (files, world) = Files::live().await;
    files.run("plan c --against URL").await.is(2, "+ plans.pro");
    files.run("apply c --to URL").await.is(0, "revision ");
    files.run("plan c --against URL").await.is(0, "Nothing would change");
    let (before, lock) = (world.running.app().revision(), files.read("c/entitlements.lock"));
    files.run("apply c --to URL").await.is(0, "nothing to do");
    assert_eq!(world.running.app().revision(), before);
    assert_eq!(files.read("c/entitlements.lock"), lock);

    // Another clone of the same files knows by the lock what they follow.
    without_approval(&world).await;
    assert_eq!(world.admin.put("/v1/tenants/acme", crate::support::ACME).await.status, 200);
    files.write("c/plans.toml", &PLANS.replace("20", "15"));
    let told = files.run("plan c --against URL").await.is(2, "1 lose something");
    assert!(told.out.contains("~ plans.pro.grants.seats: 20 -> 15"), "{told:?}");
    files.run("apply c --to URL").await.is(0, "has this catalog now");
    assert_ne!(files.read("c/entitlements.lock"), lock);
    let live = world.admin.get("/v1/catalog").await.json();
    assert_eq!(live["plans"]["pro"]["grants"]["seats"], 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_not_seen_is_not_overwritten() {
    let (files, world) = Files::live().await;
    without_approval(&world).await;
    files.run("apply c --to URL").await.is(0, "revision ");
    let elsewhere = |seats: u32| {
        format!(
            r#"{{"features":{{"seats":{{"kind":{{"limit":{{"unit":"seat"}}}}}}}},
                 "plans":{{"pro":{{"name":"Pro","grants":{{"seats":{seats}}}}}}}}}"#
        )
    };
    assert_eq!(world.admin.put("/v1/catalog", &elsewhere(99)).await.status, 200);
    files.write("c/plans.toml", &PLANS.replace("Pro", "Pro Max"));
    let revision = world.running.app().revision();

    files.run("plan c --against URL").await.is(2, &format!("`--seen {revision}`"));
    let told = files.run("apply c --to URL").await.is(1, "was changed elsewhere since revision ");
    assert!(told.out.contains("~ plans.pro.grants.seats: 20 -> 99\n"), "{told:?}");
    assert!(!told.out.contains("Pro Max"), "only what changed there: {told:?}");
    assert!(told.error.contains("catalog export c --from"), "{told:?}");
    files.run("apply c --to URL --seen 1").await.is(1, &format!("revision {revision}, not 1"));
    assert_eq!(world.running.app().revision(), revision, "nothing was written");

    // Changed back is what the files follow.
    assert_eq!(world.admin.put("/v1/catalog", &elsewhere(20)).await.status, 200);
    files.run("apply c --to URL").await.is(0, "has this catalog now");
    assert_eq!(world.admin.put("/v1/catalog", &elsewhere(99)).await.status, 200);
    let seen = world.running.app().revision();
    files.run(&format!("apply c --to URL --seen {seen}")).await.is(0, "has this catalog now");

    // Files that never followed it, and a lock that nobody can read.
    files.write("other/all.toml", &format!("{FEATURES}{PLANS}"));
    files.run("apply other --to URL").await.is(1, "do not follow the live catalog");
    files.write("c/entitlements.lock", "?");
    files.run("apply c --to URL").await.is(1, "entitlements.lock");
}

#[tokio::test]
async fn a_change_is_sent_over_what_was_read_and_under_one_name() {
    let mut files = Files::new(&[("c/features.toml", FEATURES)]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    files.url = format!("http://{}", listener.local_addr().unwrap());
    files.token = "ent_x".into();
    let mut names = Vec::new();
    for features in [FEATURES.to_owned(), FEATURES.to_owned(), FEATURES.replace("seats", "rooms")] {
        files.write("c/features.toml", &features);
        let forgetful = timeout(DEADLINE, forgetful(&listener));
        let (told, sent) = tokio::join!(files.run("apply c --to URL"), forgetful);
        let told = told.is(1, "broke off");
        let sent = sent.unwrap_or_else(|_| panic!("nothing was sent: {told:?}"));
        assert!(!files.path("c/entitlements.lock").exists(), "nobody knows what became of it");
        assert!(sent.contains("\r\nif-match: \"7\"\r\n"), "{sent}");
        let name = sent.lines().find(|line| line.starts_with("idempotency-key: ")).unwrap();
        names.push(name.to_owned());
    }
    assert_eq!(names[0], names[1], "the same change again has the same name");
    assert_ne!(names[0], names[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_approval_becomes_one_draft() {
    let (files, world) = Files::live().await;
    files.run("apply c --to URL").await.is(0, "revision ");
    assert_eq!(world.admin.put("/v1/tenants/acme", crate::support::ACME).await.status, 200);
    files.write("c/plans.toml", &PLANS.replace("20", "15"));
    files.run("plan c --against URL").await.is(2, "It needs approval");
    files.run("apply c --to URL").await.is(1, "--draft");

    let drafts = async || world.admin.get("/v1/drafts").await.json()["drafts"].clone();
    let told = files.run("apply c --to URL --draft spring").await.is(0, "submitted for approval");
    let id = drafts().await[0]["id"].as_str().unwrap().to_owned();
    assert!(told.out.contains(&format!("/v1/drafts/{id}")), "{told:?}");
    files.run("apply c --to URL --draft spring").await.is(0, "the draft is in review");

    files.write("c/plans.toml", &PLANS.replace("20", "12"));
    files.run("apply c --to URL --draft spring").await.is(0, "brought up to date and submitted");
    let all = drafts().await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    assert_eq!((&all[0]["id"], &all[0]["stage"]), (&id.into(), &"in_review".into()));
    let catalog = all[0]["id"].as_str().map(|id| format!("/v1/drafts/{id}/catalog")).unwrap();
    let catalog = world.admin.get(&catalog).await.json();
    assert_eq!(catalog["plans"]["pro"]["grants"]["seats"], 12);

    // Once it is live, it is what the files follow, though nobody applied it.
    without_approval(&world).await;
    let publish = format!("/v1/drafts/{}/publish", all[0]["id"].as_str().unwrap());
    let answer = world.admin.post(&publish, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    files.write("c/plans.toml", &PLANS.replace("20", "11"));
    files.run("apply c --to URL").await.is(0, "has this catalog now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_what_was_imported_and_the_same_every_time() {
    let (files, world) = Files::live().await;
    files.run("apply c --to URL").await.is(0, "revision ");
    files.run("export one --from URL").await.is(0, "3 files written, 0 removed");
    let one = files.all("one");
    let names: Vec<_> = one.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["entitlements.lock", "features.toml", "plans.toml"]);
    assert_eq!(one[2].1, PLANS);
    files.run("export one --from URL").await.is(0, "nothing to do");
    files.run("plan one --against URL").await.is(0, "Nothing would change");
    files.run("apply one --to URL").await.is(0, "nothing to do");

    // Imported elsewhere and exported from there it has the same bytes.
    files.run("import one --data data").await.is(0, "revision 1: ");
    files.run("export two --from data").await.is(0, "revision 1; 3 files written");
    assert_eq!(files.all("two")[1..], one[1..]);
    files.run("export two --from nothing").await.is(1, "is no data folder");
    assert!(!files.path("nothing").exists());

    // What has nothing in it any more goes, what is not ours stays.
    without_approval(&world).await;
    files.write("one/notes.md", "ours");
    files.write("one/tests.toml", TENANTS);
    let features = r#"{"features":{"seats":{"kind":{"limit":{"unit":"seat"}}}}}"#;
    assert_eq!(world.admin.put("/v1/catalog", features).await.status, 200);
    files.run("export one --from URL").await.is(0, "1 removed");
    let names: Vec<_> = files.all("one").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["entitlements.lock", "features.toml", "notes.md", "tests.toml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_shadows_nothing() {
    let (files, _world) = Files::live().await;
    files.run("apply c --to URL").await.is(0, "revision ");
    // `c` has a lock now, `by-hand` has none.
    files.write("by-hand/plans.toml", PLANS);
    files.run("export by-hand --from URL").await.is(1, "plans.toml: no export wrote it");
    files.write("c/extra.toml", "[plans.other]\n");
    files.run("export c --from URL").await.is(1, "extra.toml: its objects");
    files.write("c/extra.toml", "[");
    files.run("export c --from URL").await.is(1, "extra.toml: it cannot be read");
    fs::remove_file(files.path("c/extra.toml")).unwrap();
    files.write("c/plans.toml", &format!("{PLANS}{TENANTS}"));
    files.run("export c --from URL").await.is(1, "plans.toml: its tenants");
    assert!(files.read("c/plans.toml").contains("tenants"), "nothing was written");
    files.run("export c --from URL --force").await.is(0, "1 file written");
    assert_eq!(files.read("c/plans.toml"), PLANS);
    files.run("export by-hand --from URL --force").await.is(0, "written");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_or_cannot_is_told() {
    let (mut files, world) = Files::live().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    files.run(&format!("apply c --to http://{closed}")).await.is(1, "cannot reach `http://");
    files.run("apply c --to ftp://127.0.0.1").await.is(64, "begins with `https://`");
    files.run("apply c --to http://entitlements.example").await.is(1, "is not protected");
    files.run("apply c --to URL/v1").await.is(64, "leave out");
    files.run("apply c/plans.toml --to URL").await.is(64, "is a file");
    files.run("apply nothing --to URL").await.is(1, "`nothing`");
    files.run("apply c --to URL --key-file nothing").await.is(1, "`nothing`");
    files.write("key", &format!("{}\n", files.token));
    files.token = String::new();
    files.run("apply c --to URL").await.is(64, "ENTITLEMENTS_KEY");
    files.run("apply c --to URL --key-file key").await.is(0, "revision ");
    files.token = "ent_wrong".into();
    files.run("plan c --against URL").await.is(1, "refused (401)");
    let reader = world.client(entitlements_admin::workflow::Scope::Read).await;
    files.token = reader.token.unwrap();
    files.run("plan c --against URL").await.is(0, "Nothing would change");
    files.write("c/plans.toml", &PLANS.replace("20", "15"));
    files.run("apply c --to URL").await.is(1, "refused (403)");
}
