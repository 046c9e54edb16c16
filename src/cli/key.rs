//! `telltale key`: works on the data folder, not over the network, so that a first key can be made.

use super::{DONE, FAILED, FolderArgs, KeyCommand, UNAVAILABLE, USAGE, complain, say};
use crate::config::{self, Flags, Overrides};
use crate::keys::Keys;
use crate::model::Role;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

pub(super) fn key(command: KeyCommand) -> u8 {
    let (KeyCommand::Make { folder, .. } | KeyCommand::List { folder } | KeyCommand::Revoke { folder, .. }) =
        &command;
    let Some(data) = data_folder(folder) else { return USAGE };
    let keys = match open(&data) {
        Ok(keys) => keys,
        Err(e) => {
            let hint = match e.kind() {
                io::ErrorKind::NotFound => "; name it with --data, or start telltale once",
                io::ErrorKind::PermissionDenied => "; try as the user telltale runs as, or with sudo",
                _ => "",
            };
            complain(&format!("failed to open the keys in {}: {e}{hint}", data.display()));
            return UNAVAILABLE;
        }
    };
    let done = match &command {
        KeyCommand::Make { role, name, .. } => make(&keys, role, name, &data),
        KeyCommand::List { .. } => list(&keys),
        KeyCommand::Revoke { id, .. } => revoke(&keys, id),
    };
    let owned = give_to_owner(&data);
    match done.and_then(|code| owned.map(|()| code)) {
        Ok(code) => code,
        Err(e) => {
            complain(&format!("failed to change the keys in {}: {e}", data.display()));
            FAILED
        }
    }
}

/// The folder that the flags, the environment or the configuration name.
fn data_folder(folder: &FolderArgs) -> Option<PathBuf> {
    let flags = Flags { config: folder.config.clone(), data: folder.data.clone(), ..Flags::default() };
    if let Some(data) = &folder.data {
        return Some(data.clone());
    }
    match config::load(&Overrides::from_process(flags)) {
        Ok(loaded) => Some(loaded.config.data),
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            complain("the configuration has faults; name the data folder with --data");
            None
        }
    }
}

fn open(data: &Path) -> io::Result<Keys> {
    // Never made here: a folder in the wrong place would hold a key that opens nothing.
    if !data.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such folder"));
    }
    Keys::open(data)
}

fn make(keys: &Keys, role: &str, name: &str, data: &Path) -> io::Result<u8> {
    let role = match role {
        "view" => Role::View,
        "operate" => Role::Operate,
        "publish" => Role::Publish,
        _ => Role::Admin,
    };
    let (id, token) = keys.make(name, role)?;
    complain(&format!("key {id} ({}) for {}; it is shown this once:", role.as_str(), data.display()));
    say(&token);
    Ok(DONE)
}

fn list(keys: &Keys) -> io::Result<u8> {
    let keys = keys.list()?;
    if keys.is_empty() {
        complain("no keys yet; make one with telltale key make");
    }
    for key in keys {
        if !say(&format!("{:<10} {:<8} {} {}", key.id, key.role.as_str(), key.made.rfc3339(), key.name)) {
            break;
        }
    }
    Ok(DONE)
}

fn revoke(keys: &Keys, id: &str) -> io::Result<u8> {
    if keys.revoke(id)? {
        complain(&format!("key {id} is revoked"));
        return Ok(DONE);
    }
    complain(&format!("there is no key {id:?}; telltale key list shows what there is"));
    Ok(FAILED)
}

/// Run by root, the files must stay readable for the user the daemon runs as: the owner of the folder. That user could
/// put a link in the place of a file, so what is given away is what was opened, and it must be a file of this folder alone.
fn give_to_owner(data: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = std::fs::metadata(data)?;
    let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    for name in ["keys.json", "secret"] {
        let opened = OpenOptions::new().read(true).custom_flags(no_link.bits() as i32).open(data.join(name));
        let Ok(file) = opened else { continue };
        let is = file.metadata()?;
        if is.is_file() && is.nlink() == 1 && is.uid() != folder.uid() {
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only root can give files away, so this says something only where the tests run as root.
    #[test]
    fn files_made_by_root_go_to_the_owner_of_the_folder_and_links_do_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        let data = dir.path().join("data");
        std::fs::write(&elsewhere, "").unwrap();
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(4711), Some(4711)).unwrap();
        std::fs::write(data.join("keys.json"), "{}").unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join("secret")).unwrap();
        give_to_owner(&data).unwrap();
        assert_eq!(std::fs::metadata(data.join("keys.json")).unwrap().uid(), 4711);
        assert_eq!(std::fs::metadata(&elsewhere).unwrap().uid(), 0);
    }
}
