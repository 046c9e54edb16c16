//! Access keys: who may act from outside this host.
//!
//! Owns `<data>/keys.json` (ids, names, roles and SHA-256 of the tokens, never a token) and `<data>/secret` (what
//! login cookies are signed with), both mode 0600 and replaced as a whole. A token is 256 random bits, shown once when
//! it is made; that much randomness needs no slow hash. The file is read again when it has changed, so that a key made
//! or revoked by the command line counts at once in a running daemon. Does not decide what a role may do.

use crate::clock::Wall;
use crate::model::Role;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Short and public; names the key in lists and cookies.
    pub id: String,
    /// What its owner called it, such as `vision box`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub made: Wall,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    info: KeyInfo,
    /// Hex of the SHA-256 of the token.
    sha256: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    keys: Vec<Stored>,
}

/// What tells one version of the file from another.
type Version = Option<(u64, i64, i64, u64)>;

#[derive(Debug, Default)]
struct Loaded {
    version: Version,
    keys: Vec<Stored>,
    /// The last attempt to read failed and has been logged.
    failing: bool,
}

/// Keys are one folder's; past this many a new one is refused.
const MOST: usize = 256;
const PREFIX: &str = "tt_";

/// See the module above.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    secret: [u8; 32],
    loaded: Mutex<Loaded>,
}

impl Keys {
    /// Opens the keys of a data folder; a folder without any is one where nobody has a key yet.
    ///
    /// # Errors
    /// When a file is there and can't be read, or the secret can't be made.
    pub fn open(data: &Path) -> io::Result<Keys> {
        let secret = secret(&data.join("secret"))?;
        let keys = Keys { folder: data.to_path_buf(), secret, loaded: Mutex::default() };
        keys.read(&mut keys.lock())?;
        Ok(keys)
    }

    /// Makes a key; gives its id and its token, which nobody can read again.
    ///
    /// # Errors
    /// When the file can't be written, or there are too many keys.
    pub fn make(&self, name: &str, role: Role) -> io::Result<(String, String)> {
        let mut token = [0; 32];
        random(&mut token)?;
        let mut id = [0; 4];
        random(&mut id)?;
        let token = format!("{PREFIX}{}", hex(&token));
        let info = KeyInfo {
            id: hex(&id),
            name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            role,
            made: Wall::now(),
        };
        let stored = Stored { info: info.clone(), sha256: hex(&Sha256::digest(token.as_bytes())) };
        self.change(|keys| {
            if keys.len() >= MOST {
                return Err(io::Error::other(format!("there are {MOST} keys already; revoke one first")));
            }
            keys.push(stored);
            Ok(())
        })?;
        Ok((info.id, token))
    }

    /// Every key.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn list(&self) -> io::Result<Vec<KeyInfo>> {
        let mut loaded = self.lock();
        self.read(&mut loaded)?;
        Ok(loaded.keys.iter().map(|key| key.info.clone()).collect())
    }

    /// Takes a key away; false when there is none with this id. Cookies made from it end with it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn revoke(&self, id: &str) -> io::Result<bool> {
        let mut found = false;
        self.change(|keys| {
            let before = keys.len();
            keys.retain(|key| key.info.id != id);
            found = keys.len() != before;
            Ok(())
        })?;
        Ok(found)
    }

    /// The key a token belongs to. Takes the same time whichever key it is, or none.
    pub fn verify(&self, token: &str) -> Option<KeyInfo> {
        if token.len() > 128 {
            return None;
        }
        let given = hex(&Sha256::digest(token.as_bytes()));
        let mut found = None;
        for key in &self.fresh().keys {
            if same(given.as_bytes(), key.sha256.as_bytes()) {
                found = Some(key.info.clone());
            }
        }
        found
    }

    /// The value of a login cookie for a key: `id.expiry.signature`, the expiry in Unix seconds.
    pub(crate) fn cookie(&self, key: &KeyInfo, expiry: u64) -> String {
        let said = format!("{}.{expiry}", key.id);
        let signature = hex(&self.sign(&said));
        format!("{said}.{signature}")
    }

    /// The key behind a login cookie, if it was signed here, has not expired and its key still exists.
    pub(crate) fn by_cookie(&self, value: &str, now: u64) -> Option<KeyInfo> {
        let (said, signature) = value.rsplit_once('.')?;
        if value.len() > 160 || !same(hex(&self.sign(said)).as_bytes(), signature.as_bytes()) {
            return None;
        }
        let (id, expiry) = said.split_once('.')?;
        if expiry.parse::<u64>().ok()? < now {
            return None;
        }
        self.fresh().keys.iter().find(|key| key.info.id == id).map(|key| key.info.clone())
    }

    fn sign(&self, text: &str) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn file(&self) -> PathBuf {
        self.folder.join("keys.json")
    }

    /// The keys as the file has them now; as they were, when it can't be read.
    fn fresh(&self) -> MutexGuard<'_, Loaded> {
        let mut loaded = self.lock();
        match self.read(&mut loaded) {
            Ok(()) => loaded.failing = false,
            Err(e) => {
                if !std::mem::replace(&mut loaded.failing, true) {
                    log::error!("{e}; the keys known before still count");
                }
            }
        }
        loaded
    }

    fn read(&self, loaded: &mut Loaded) -> io::Result<()> {
        let file = self.file();
        let version = match std::fs::metadata(&file) {
            Ok(m) => Some((m.ino(), m.mtime(), m.mtime_nsec(), m.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed("read", &file, &e)),
        };
        if version == loaded.version {
            return Ok(());
        }
        loaded.keys = if version.is_some() {
            let text = std::fs::read(&file).map_err(|e| failed("read", &file, &e))?;
            let parsed: File = serde_json::from_slice(&text).map_err(|e| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("failed to read `{}`: {e}", file.display()),
                )
            })?;
            parsed.keys
        } else {
            Vec::new()
        };
        loaded.version = version;
        Ok(())
    }

    /// Reads, changes and replaces the file while no other process does.
    fn change(&self, change: impl FnOnce(&mut Vec<Stored>) -> io::Result<()>) -> io::Result<()> {
        let folder = std::fs::File::open(&self.folder).map_err(|e| failed("open", &self.folder, &e))?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
        let mut loaded = self.lock();
        self.read(&mut loaded)?;
        let mut keys = loaded.keys.clone();
        change(&mut keys)?;
        let text = serde_json::to_vec_pretty(&File { keys })?;
        replace(&self.file(), &text)?;
        folder.sync_all()?;
        self.read(&mut loaded)
    }
}

fn failed(what: &str, path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("failed to {what} `{}`: {e}", path.display()))
}

/// Replaces a file as a whole, readable by its owner only.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let write = || -> io::Result<()> {
        let _ = std::fs::remove_file(&part);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| failed("write", path, &e))
}

/// Reads the secret, or makes it.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    match std::fs::read(path) {
        Ok(bytes) => {
            if let Ok(secret) = <[u8; 32]>::try_from(bytes.as_slice()) {
                return Ok(secret);
            }
            log::warn!("`{}` is not 32 bytes long; made anew, everybody has to log in again", path.display());
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed("read", path, &e)),
    }
    let mut secret = [0; 32];
    random(&mut secret)?;
    replace(path, &secret)?;
    Ok(secret)
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|e| io::Error::other(format!("no random numbers: {e}")))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// Compares without telling by its time where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && std::hint::black_box(a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_verified_and_revoked_across_processes() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Keys::open(dir.path()).unwrap();
        assert_eq!(daemon.verify("tt_nothing"), None);
        let cli = Keys::open(dir.path()).unwrap();
        let (id, token) = cli.make("vision box", Role::Publish).unwrap();
        assert!(token.starts_with("tt_") && token.len() == 67);
        let info = daemon.verify(&token).expect("the daemon reads the file again");
        assert_eq!((info.id.as_str(), info.role), (id.as_str(), Role::Publish));
        let text = std::fs::read_to_string(dir.path().join("keys.json")).unwrap();
        assert!(!text.contains(&token[3..]), "the token itself is not stored");
        for file in ["keys.json", "secret"] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let cookie = daemon.cookie(&info, 1000);
        assert_eq!(daemon.by_cookie(&cookie, 1000), Some(info.clone()));
        assert_eq!(daemon.by_cookie(&cookie, 1001), None, "expired");
        let forged = cookie.replace(".1000.", ".9000.");
        assert_eq!(daemon.by_cookie(&forged, 1), None, "the expiry is signed");
        assert!(cli.revoke(&id).unwrap());
        assert!(!cli.revoke(&id).unwrap());
        assert_eq!(daemon.verify(&token), None);
        assert_eq!(daemon.by_cookie(&cookie, 1), None, "a cookie ends with its key");
    }

    #[test]
    fn the_secret_survives_a_restart_and_a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::open(dir.path()).unwrap();
        let (_, token) = first.make("a", Role::View).unwrap();
        let info = first.verify(&token).unwrap();
        let cookie = first.cookie(&info, 5);
        assert!(Keys::open(dir.path()).unwrap().by_cookie(&cookie, 5).is_some());
        std::fs::write(dir.path().join("keys.json"), "{").unwrap();
        assert!(Keys::open(dir.path()).unwrap_err().to_string().contains("keys.json"));
        assert!(first.verify(&token).is_some(), "what was known before still counts");
    }

    #[test]
    fn cookies_of_any_shape_are_refused_quietly() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        for value in ["", ".", "..", "a.b.c", "a.1", &"x.".repeat(500), "\u{0}.1.\u{0}"] {
            assert_eq!(keys.by_cookie(value, 0), None, "{value:?}");
        }
    }
}
