//! The configuration as it is shown to and changed by a person far away.
//!
//! Promises: what is written has no faults by the same code as `telltale check`; comments stay; the file is replaced as a
//! whole (written beside, synced, renamed), and the one before stays beside it as `.bak`; secrets are never shown and are
//! kept when they come back hidden; two who write at once are told. Does not: apply what was written; the caller is given the turn to do so.

use super::error::{ConfigError, Place};
use super::keys::KEYS;
use super::load::{self, Loaded, Overrides};
use super::secrets::{self, HIDDEN};
use super::types::Config;
use super::{print, secrets::is_secret};
use crate::limits;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table};

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The whole text.
    Text(String),
    /// Some keys, the rest as it is.
    Keys {
        /// `store.keep` or `name`, and the value as JSON.
        set: Vec<(String, Value)>,
        /// Keys that go back to their defaults.
        unset: Vec<String>,
    },
}

/// Why a change was not made.
#[derive(Debug)]
pub enum EditError {
    /// There is no file.
    NoFile,
    /// Somebody else has changed it; the revision there is.
    Revision(String),
    /// It would have faults.
    Faults(Vec<ConfigError>),
    /// One sentence: what was asked can't be.
    Impossible(String),
    /// The file can't be read or written.
    Io(String),
}

/// The file, as far as it can be changed while telltale runs.
#[derive(Debug)]
pub struct Editor {
    file: Option<PathBuf>,
    overrides: Overrides,
    /// One at a time.
    turn: Mutex<()>,
}

impl Editor {
    /// The file that these settings came from.
    pub fn new(loaded: &Loaded) -> Self {
        Editor { file: loaded.file.clone(), overrides: loaded.overrides.clone(), turn: Mutex::default() }
    }

    /// Everything a page needs to show and change it; `running` is what is in use.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn show(&self, running: &Config) -> Result<Value, EditError> {
        let Some(path) = &self.file else {
            return Ok(json!({
                "path": null, "writable": false, "revision": "", "text": "", "errors": [],
                "sections": print::sections(running), "lists": print::lists(|_| Vec::new()),
            }));
        };
        let bytes = read(path)?;
        let (config, errors) = match load::check_text(&self.overrides, path, bytes.clone()) {
            Ok(loaded) => (loaded.config, Vec::new()),
            Err(errors) => (running.clone(), errors),
        };
        let text = secrets::hide(&String::from_utf8_lossy(&bytes));
        let document = text.parse::<DocumentMut>().unwrap_or_default();
        let items = |name: &str| {
            let list = document.get(name).and_then(Item::as_array_of_tables);
            list.into_iter().flatten().enumerate().map(|(n, table)| item(table, n)).collect()
        };
        Ok(json!({
            "path": path, "writable": is_writable(path), "revision": revision(&bytes), "text": text,
            "errors": faults(&errors), "sections": print::sections(&config), "lists": print::lists(items),
        }))
    }

    /// Checks a change without making it; gives the revision there is.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn check(&self, edit: &Edit, if_revision: Option<&str>) -> Result<String, EditError> {
        let _turn = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        self.plan(edit, if_revision).map(|(_, before, _)| revision(&before))
    }

    /// Makes a change and has it applied; gives the new revision and what applying gave. When that finds faults after all,
    /// the file is put back.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn put<T>(
        &self,
        edit: &Edit,
        if_revision: Option<&str>,
        apply: impl FnOnce() -> Result<T, Vec<ConfigError>>,
    ) -> Result<(String, T), EditError> {
        let _turn = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        let (path, before, after) = self.plan(edit, if_revision)?;
        let failed = |e: io::Error| EditError::Io(unwritten(&path, &e));
        // What a link leads to is replaced, not the link.
        let path = fs::canonicalize(&path).map_err(failed)?;
        let mut bak = path.clone().into_os_string();
        bak.push(".bak");
        replace(Path::new(&bak), &path, &before).map_err(failed)?;
        replace(&path, &path, &after).map_err(failed)?;
        match apply() {
            Ok(applied) => Ok((revision(&after), applied)),
            Err(errors) => {
                replace(&path, &path, &before).map_err(failed)?;
                Err(EditError::Faults(errors))
            }
        }
    }

    /// The file, its text, and what it will be.
    fn plan(&self, edit: &Edit, if_revision: Option<&str>) -> Result<(PathBuf, Vec<u8>, Vec<u8>), EditError> {
        let path = self.file.clone().ok_or(EditError::NoFile)?;
        let before = read(&path)?;
        let there = revision(&before);
        if if_revision.is_some_and(|wanted| wanted != there) {
            return Err(EditError::Revision(there));
        }
        let kept = String::from_utf8_lossy(&before);
        let after = match edit {
            Edit::Text(text) => with_secrets(text, &kept)?,
            Edit::Keys { set, unset } => with_keys(&kept, set, unset)?,
        };
        if after.len() as u64 > limits::CONFIG_BYTES {
            return Err(EditError::Impossible(format!(
                "the text has {} bytes; at most {}",
                after.len(),
                limits::CONFIG_BYTES
            )));
        }
        let after = after.into_bytes();
        load::check_text(&self.overrides, &path, after.clone()).map_err(EditError::Faults)?;
        Ok((path, before, after))
    }
}

/// Faults as the wire has them; line and column are null for those outside the file.
pub fn faults(errors: &[ConfigError]) -> Value {
    let one = |error: &ConfigError| {
        let (line, column, of) = match &error.place {
            Place::File { line, column, .. } => (Some(line), Some(column), String::new()),
            Place::Whole(_) => (None, None, String::new()),
            other => (None, None, format!("{other}: ")),
        };
        json!({ "line": line, "column": column, "detail": format!("{of}{}", error.detail) })
    };
    errors.iter().map(one).collect()
}

fn with_secrets(text: &str, kept: &str) -> Result<String, EditError> {
    // What is no TOML is told with line and column by the check.
    let Ok(mut document) = text.parse::<DocumentMut>() else { return Ok(text.into()) };
    match secrets::restore(&mut document, kept).first() {
        None => Ok(document.to_string()),
        Some(key) => {
            Err(EditError::Impossible(format!("{key} is {HIDDEN}, but the file has no such secret to keep")))
        }
    }
}

fn with_keys(kept: &str, set: &[(String, Value)], unset: &[String]) -> Result<String, EditError> {
    let mut document = kept.parse::<DocumentMut>().map_err(|_| {
        EditError::Impossible("the file is no TOML at the moment; send its whole text instead".into())
    })?;
    for (path, value) in set {
        let (section, name) = known(path)?;
        if is_secret(name, None) && value == HIDDEN {
            continue;
        }
        let value = toml_of(value)
            .ok_or_else(|| EditError::Impossible(format!("{path} is null; to unset it name it in unset")))?;
        let table = if section.is_empty() {
            document.as_table_mut()
        } else {
            let item = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
            if let Some(inline) = item.as_inline_table() {
                *item = Item::Table(inline.clone().into_table());
            }
            item.as_table_mut()
                .ok_or_else(|| EditError::Impossible(format!("`{section}` is no table in the file")))?
        };
        match table.get_mut(name) {
            Some(Item::Value(old)) => {
                // What stands behind it, such as a comment, stays.
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            _ => drop(table.insert(name, Item::Value(value))),
        }
    }
    for path in unset {
        let (section, name) = known(path)?;
        if section.is_empty() {
            document.remove(name);
        } else if let Some(table) = document.get_mut(section).and_then(Item::as_table_like_mut) {
            table.remove(name);
        }
    }
    Ok(document.to_string())
}

/// The section and the name of a key that there is.
fn known(path: &str) -> Result<(&'static str, &'static str), EditError> {
    KEYS.iter().find(|key| key.path() == path).map(|key| (key.section, key.name)).ok_or_else(|| {
        let shown: String = path.chars().filter(|c| !c.is_control()).take(60).collect();
        EditError::Impossible(format!("there is no key {shown:?}; lists are changed by the whole text"))
    })
}

/// The same value in TOML; none for null.
fn toml_of(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(on) => (*on).into(),
        Value::Number(n) => match n.as_i64() {
            Some(whole) => whole.into(),
            None => n.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(toml_of).collect::<Option<Array>>()?.into(),
        Value::Object(members) => {
            let mut table = InlineTable::new();
            for (name, member) in members {
                table.insert(name, toml_of(member)?);
            }
            table.into()
        }
    })
}

/// An item of a list, by its id or name.
fn item(table: &Table, n: usize) -> Value {
    let id = ["id", "name"].iter().find_map(|key| table.get(key)?.as_str());
    json!({ "id": id.map_or_else(|| n.to_string(), str::to_string), "text": table.to_string().trim() })
}

fn read(path: &Path) -> Result<Vec<u8>, EditError> {
    load::read_bounded(path).map_err(|e| EditError::Io(format!("failed to read {}: {e}", path.display())))
}

/// The same text has the same revision.
fn revision(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the file can be replaced: its folder must take another one.
fn is_writable(path: &Path) -> bool {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn unwritten(path: &Path, e: &io::Error) -> String {
    let hint = match e.kind() {
        io::ErrorKind::PermissionDenied => "; may the user of telltale write to that folder?",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the unit lets telltale write there only with ReadWritePaths= (docs/operations.md)"
        }
        _ => "",
    };
    format!("failed to write {}: {e}{hint}", path.display())
}

/// Writes `bytes` beside `path`, with the permissions of `like`, and puts them in its place.
fn replace(path: &Path, like: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_os_string();
    beside.push(".new");
    let mode = fs::metadata(like)?.permissions().mode();
    // A leftover of a power cut is not appended to, and its permissions are not inherited.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode & 0o7777)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};
    use std::collections::BTreeMap;

    const FILE: &str = "# The van.\nname = \"van 3\" # on the door\n\n[store] # the card is small\nkeep = \"64MiB\"\n# as agreed\nkeep_age = \"30days\"\n";

    fn editor(dir: &Path, text: &str) -> Editor {
        let path = dir.join("telltale.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let flags = Flags { config: Some(path), data: Some(dir.join("data")), ..Flags::default() };
        Editor::new(&load(&Overrides { flags, env: BTreeMap::new() }).unwrap())
    }

    fn keys(set: &[(&str, Value)], unset: &[&str]) -> Edit {
        Edit::Keys {
            set: set.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
            unset: unset.iter().map(|k| k.to_string()).collect(),
        }
    }

    fn text(dir: &Path) -> String {
        fs::read_to_string(dir.join("telltale.toml")).unwrap()
    }

    #[test]
    fn keys_are_set_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let editor = editor(dir.path(), FILE);
        let edit = keys(
            &[
                ("name", "van 4".into()),
                ("store.keep", "128MB".into()),
                ("host.disks", json!(["/mnt"])),
                ("push.threads", 1.into()),
            ],
            &["store.keep_age"],
        );
        let (revision, applied) = editor.put(&edit, None, || Ok(7)).unwrap();
        let after = text(dir.path());
        assert!(after.starts_with("# The van.\nname = \"van 4\" # on the door\n"), "{after}");
        assert!(after.contains("[store] # the card is small\nkeep = \"128MB\"\n"), "{after}");
        assert!(
            after.contains("[host]\ndisks = [\"/mnt\"]") && after.contains("[push]\nthreads = 1"),
            "{after}"
        );
        assert!(!after.contains("keep_age"));
        assert_eq!((applied, revision), (7, editor.check(&keys(&[], &[]), None).unwrap()));
        assert_eq!(fs::read_to_string(dir.path().join("telltale.toml.bak")).unwrap(), FILE);
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("telltale.toml"), mode("telltale.toml.bak")), (0o640, 0o640));
        assert!(!dir.path().join("telltale.toml.new").exists());
    }

    #[test]
    fn what_has_faults_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let editor = editor(dir.path(), FILE);
        for edit in [
            keys(&[("store.keep", "a lot".into())], &[]),
            keys(&[("store.keep", json!({"a": 1}))], &[]),
            keys(&[("store.keeep", "1GB".into())], &[]),
            keys(&[("name", Value::Null)], &[]),
            Edit::Text("name = ".into()),
            Edit::Text("nmae = \"x\"\n".into()),
            Edit::Text(String::new()),
            Edit::Text(format!("# {}", "x".repeat(2 << 20))),
        ] {
            let put = editor.put(&edit, None, || -> Result<(), _> { panic!("applied") });
            assert!(matches!(put, Err(EditError::Faults(_) | EditError::Impossible(_))), "{put:?}");
            assert_eq!(text(dir.path()), FILE);
        }
        let Err(EditError::Faults(errors)) = editor.check(&Edit::Text("\nnmae = \"x\"\n".into()), None)
        else {
            panic!()
        };
        assert_eq!(faults(&errors)[0]["line"], 2);
        assert!(faults(&errors)[0]["detail"].as_str().unwrap().contains("did you mean `name`?"));
    }

    #[test]
    fn two_who_write_at_once_are_told_and_a_failed_reload_puts_the_file_back() {
        let dir = tempfile::tempdir().unwrap();
        let editor = editor(dir.path(), FILE);
        let first = editor.check(&keys(&[], &[]), None).unwrap();
        editor.put(&keys(&[("name", "a".into())], &[]), Some(&first), || Ok(())).unwrap();
        let second = editor.put(&keys(&[("name", "b".into())], &[]), Some(&first), || Ok(()));
        assert!(matches!(second, Err(EditError::Revision(there)) if there != first));
        let before = text(dir.path());
        let fault = ConfigError { place: Place::Flag("--x"), detail: "no".into() };
        let put =
            editor.put(&keys(&[("name", "c".into())], &[]), None, || -> Result<(), _> { Err(vec![fault]) });
        assert!(matches!(put, Err(EditError::Faults(_))));
        assert_eq!(text(dir.path()), before);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real.toml");
        fs::write(&real, FILE).unwrap();
        let link = dir.path().join("telltale.toml");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let flags =
            Flags { config: Some(link.clone()), data: Some(dir.path().join("data")), ..Flags::default() };
        let editor = Editor::new(&load(&Overrides { flags, env: BTreeMap::new() }).unwrap());
        editor.put(&keys(&[("name", "a".into())], &[]), None, || Ok(())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("name = \"a\""));
    }

    #[test]
    fn a_page_is_told_every_key() {
        let dir = tempfile::tempdir().unwrap();
        let pins = "[[gpio]]\nid = \"door\"\npin = 17 # the front one\nstream = \"door\"\n";
        let editor = editor(dir.path(), &format!("{FILE}{pins}"));
        let shown = editor.show(&Config::default()).unwrap();
        let store = shown["sections"].as_array().unwrap().iter().find(|s| s["name"] == "store").unwrap();
        let keep = store["keys"].as_array().unwrap().iter().find(|k| k["key"] == "store.keep").unwrap();
        assert_eq!(
            (&keep["kind"], &keep["value"], &keep["live"]),
            (&"size".into(), &"\"64MiB\"".into(), &true.into())
        );
        let gpio = shown["lists"].as_array().unwrap().iter().find(|l| l["name"] == "gpio").unwrap();
        assert_eq!(gpio["items"][0]["id"], "door");
        assert!(gpio["items"][0]["text"].as_str().unwrap().contains("pin = 17 # the front one"));
        let pull = gpio["keys"].as_array().unwrap().iter().find(|k| k["key"] == "gpio.pull").unwrap();
        assert_eq!((&pull["kind"], pull["choices"][0].as_str()), (&"choice".into(), Some("off")));
        assert_eq!((&shown["writable"], &shown["errors"]), (&true.into(), &json!([])));
    }
}
