//! The signing keys and where they lie: `<data>/keys/root.key` and `publisher.key`, for the owner
//! only, and `<data>/trust.pub`, the root's public key, for sidecars.
//!
//! After a rotation `previous.pub` names the publisher from before, which is trusted until it is
//! retired, and `version` counts the lists of publishers.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use entitlements_core::signed::{PublicKey, SigningKey};

use crate::ids;

/// The keys that sign for this control plane.
pub(crate) struct Keys {
    /// Names the publishers. Nothing else is signed with it.
    pub(crate) root: SigningKey,
    /// Signs snapshots and heartbeats.
    pub(crate) publisher: SigningKey,
    /// Signed them before, and is trusted still.
    pub(crate) previous: Option<PublicKey>,
    /// The version of the list of publishers.
    pub(crate) version: u64,
}

impl Keys {
    /// Who may publish.
    pub(crate) fn publishers(&self) -> Vec<PublicKey> {
        [self.publisher.public()].into_iter().chain(self.previous).collect()
    }

    /// A secret for something that a request makes: 52 letters and digits that nobody can guess
    /// without the root key, and always the same for the same request.
    pub(crate) fn derived_secret(&self, actor: &str, request: &str, id: &str) -> String {
        let seed = self.root.to_bytes();
        let mut hasher = blake3::Hasher::new_derive_key("entitlements 2026 secrets of requests");
        for part in [&seed[..], actor.as_bytes(), request.as_bytes(), id.as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 52];
        hasher.finalize_xof().fill(&mut bytes);
        ids::text(&bytes)
    }
}

/// Reads the keys; makes those that are missing where `may_create`. Writes `trust.pub` anew.
pub(crate) fn open(data: &Path, may_create: bool) -> Result<Keys, String> {
    let folder = data.join("keys");
    fs::create_dir_all(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let keys = Keys {
        root: key(&folder.join(ROOT), may_create)?,
        publisher: key(&folder.join(PUBLISHER), may_create)?,
        previous: read(&folder.join(PREVIOUS))?,
        version: read(&folder.join(VERSION))?.unwrap_or(1),
    };
    let trust = data.join("trust.pub");
    write(&trust, &format!("{}\n", keys.root.public()), 0o644)
        .map_err(|error| format!("`{}`: {error}", trust.display()))?;
    Ok(keys)
}

/// Makes a new key that signs from now on; the one before stays trusted until it is retired.
pub(crate) fn rotate(data: &Path) -> Result<Keys, String> {
    let (folder, keys) = (data.join("keys"), open(data, false)?);
    if keys.previous.is_some() {
        return Err(
            "the key from before the last rotation is trusted still: retire it first, once \
                    every sidecar has heard from this control plane"
                .into(),
        );
    }
    let seed = ids::seed().map_err(|error| error.to_string())?;
    // Whatever is cut off here, the key that signs is named by the list: the old one is so first.
    put(&folder.join(PREVIOUS), &keys.publisher.public(), 0o644)?;
    put(&folder.join(VERSION), &(keys.version + 1), 0o644)?;
    put(&folder.join(PUBLISHER), &hex(&seed), 0o600)?;
    open(data, false)
}

/// Trusts the key from before the last rotation no longer.
pub(crate) fn retire(data: &Path) -> Result<Keys, String> {
    let (folder, keys) = (data.join("keys"), open(data, false)?);
    if keys.previous.is_none() {
        return Err("there is no key to retire: `signing-key rotate` makes a new one first".into());
    }
    put(&folder.join(VERSION), &(keys.version + 1), 0o644)?;
    let path = folder.join(PREVIOUS);
    let removed = fs::remove_file(&path).and_then(|()| fs::File::open(&folder)?.sync_all());
    removed.map_err(|error| format!("`{}`: {error}", path.display()))?;
    open(data, false)
}

const ROOT: &str = "root.key";
const PUBLISHER: &str = "publisher.key";
const PREVIOUS: &str = "previous.pub";
const VERSION: &str = "version";

fn put(path: &Path, value: &dyn std::fmt::Display, mode: u32) -> Result<(), String> {
    write(path, &format!("{value}\n"), mode)
        .map_err(|error| format!("`{}`: {error}", path.display()))
}

/// What a file holds; absent where there is none.
fn read<T: std::str::FromStr>(path: &Path) -> Result<Option<T>, String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let value = text.trim().parse();
            value.map(Some).map_err(|_| format!("`{}` cannot be read", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{}`: {error}", path.display())),
    }
}

/// The root's public key as text.
pub(crate) fn trust(keys: &Keys) -> String {
    let public: PublicKey = keys.root.public();
    public.to_string()
}

fn key(path: &Path, may_create: bool) -> Result<SigningKey, String> {
    let named = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => {
            only_for_its_owner(path)?;
            seed(text.trim()).map(SigningKey::from_bytes).ok_or_else(|| named(&"is not a key"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
            let seed = ids::seed().map_err(|error| named(&error))?;
            write(path, &format!("{}\n", hex(&seed)), 0o600).map_err(|error| named(&error))?;
            Ok(SigningKey::from_bytes(seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(named(&"is missing: put it back from a backup, as sidecars trust no other"))
        }
        Err(error) => Err(named(&error)),
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn only_for_its_owner(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let named = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let mode = fs::metadata(path).map_err(|error| named(&error))?.permissions().mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(named(&"can be read by others: run `chmod 600` on it"))
    }
}

#[cfg(not(unix))]
fn only_for_its_owner(_: &Path) -> Result<(), String> {
    Ok(())
}

fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

fn seed(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(Into::into)
}
