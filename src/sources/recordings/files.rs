//! What is done to files: found, watched, moved without overwriting anything, copied, cut. Owns no state.
//!
//! Links are never followed out of the folder: a name that is a link is passed over. Moves within a file system are one
//! step; nothing that exists is ever replaced.

use super::wav::{ReadAt, Wav};
use crate::clock::Wall;
use crate::limits;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, inotify};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The bin, in the folder itself so that moving there and back is one step. `.bin/{recording_id}/{path as it was}`.
pub(super) const BIN: &str = ".bin";
/// Files of ours that are not whole yet.
const PART: &str = ".telltale-";

/// A file as the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub bytes: u64,
    /// Nanoseconds since 1970; 0 before.
    pub modified_ns: u64,
}

/// The plain file at `path`; none for a link, a folder, or nothing.
pub(super) fn stat(path: &Path) -> Option<Stat> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    plain(&stat)
}

#[allow(clippy::unnecessary_cast, reason = "the widths differ between 32 and 64 bits")]
fn plain(stat: &rustix::fs::Stat) -> Option<Stat> {
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return None;
    }
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    Some(Stat {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: seconds.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as u64),
    })
}

/// Opens a plain file for reading; never a link, never something that blocks.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

/// Opens one of our files to put its header right.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Reads a sidecar; none when it is not there, can't be read, or is larger than one has any reason to be.
pub(super) fn read_small(path: &Path) -> Option<Vec<u8>> {
    let file = open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if length > limits::SIDECAR_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(limits::SIDECAR_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What a walk came upon.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Folders, from the root; the root itself is the empty path.
    pub folders: Vec<PathBuf>,
    /// What could not be read, and why: the first one.
    pub unreadable: Option<String>,
    /// Links that were passed over.
    pub links: u64,
}

/// Finds every file below `root` whose extension is one of `extensions`, folders within [`limits::FOLDERS`] and
/// [`limits::FOLDER_DEPTH`]. Names that begin with a point are passed over.
///
/// # Errors
/// When the root can't be read.
pub(super) fn walk(
    root: &Path,
    deep: bool,
    extensions: &[String],
    mut found: impl FnMut(PathBuf, Stat),
) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(e) if depth == 0 => return Err(e),
            Err(e) => {
                walked
                    .unreadable
                    .get_or_insert_with(|| format!("failed to read `{}`: {e}", folder.display()));
                continue;
            }
        };
        walked.folders.push(folder.clone());
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(&name);
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => walked.links += 1,
                Ok(kind) if kind.is_dir() => {
                    if deep
                        && depth < limits::FOLDER_DEPTH
                        && walked.folders.len() + open.len() < limits::FOLDERS
                    {
                        open.push((path, depth + 1));
                    } else if deep {
                        walked.unreadable.get_or_insert_with(|| {
                            format!("`{}` is too deep, or one folder too many", path.display())
                        });
                    }
                }
                Ok(_) if is_recording(&path, extensions) => {
                    if let Some(stat) = stat(&root.join(&path)) {
                        found(path, stat);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(walked)
}

/// Finds what is in the bin: the id of its folder, the path it had, the file.
pub(super) fn walk_bin(root: &Path, extensions: &[String], mut found: impl FnMut(String, PathBuf, Stat)) {
    let Ok(entries) = std::fs::read_dir(root.join(BIN)) else { return };
    for entry in entries.flatten().take(limits::RECORDINGS) {
        let Ok(id) = entry.file_name().into_string() else { continue };
        let _ = walk(&entry.path(), true, extensions, |path, stat| found(id.clone(), path, stat));
    }
}

/// Removes what an earlier run did not finish.
pub(super) fn clear_parts(root: &Path, folders: &[PathBuf]) {
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten().filter(|e| e.file_name().as_bytes().starts_with(PART.as_bytes())) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The extension in small letters.
pub(super) fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Whether a name is one of a recording.
pub(super) fn is_recording(path: &Path, extensions: &[String]) -> bool {
    let Some(extension) = path.extension() else { return false };
    extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Moves a file to a name that must be free.
///
/// # Errors
/// `AlreadyExists` when it is not.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // FAT and some network file systems do not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

/// Moves several files, all or none as far as the disk allows.
///
/// # Errors
/// The first failure; what was moved before it is moved back.
pub(super) fn rename_all(moves: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    for (n, (from, to)) in moves.iter().enumerate() {
        if let Err(e) = rename(from, to) {
            for (from, to) in moves[..n].iter().rev() {
                let _ = rename(to, from);
            }
            return Err(e);
        }
    }
    Ok(())
}

/// A name for a file of ours that is not whole yet, in the folder of `beside`.
pub(super) fn part(beside: &Path) -> PathBuf {
    let mut number = [0; 8];
    // Two of one number meet in `create_new`, which fails.
    let _ = getrandom::fill(&mut number);
    beside.with_file_name(format!("{PART}{}.part", super::index::hex(&number)))
}

/// The first free one of `name.wav`, `name-2.wav`, ...
pub(super) fn free_name(path: PathBuf) -> PathBuf {
    if path.symlink_metadata().is_err() {
        return path;
    }
    let stem = path.file_stem().unwrap_or_default().to_os_string();
    let candidates = (2..10_000_u32).map(|n| {
        let mut name = stem.clone();
        name.push(format!("-{n}"));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    });
    candidates.into_iter().find(|p| p.symlink_metadata().is_err()).unwrap_or(path)
}

/// When a folder was last changed, such as by something being moved into it; now where that is not known.
pub(super) fn folder_time(folder: &Path) -> Wall {
    let since = |at: std::time::SystemTime| at.duration_since(std::time::UNIX_EPOCH).ok();
    let modified = folder.metadata().and_then(|m| m.modified()).ok().and_then(since);
    modified.map_or_else(Wall::now, |d| Wall(d.as_millis() as u64))
}

/// Total, used and free bytes of the file system of `path`, free as far as a plain user may use it.
pub(super) fn disk(path: &Path) -> Option<(u64, u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_blocks), bytes(stat.f_blocks.saturating_sub(stat.f_bfree)), bytes(stat.f_bavail)))
}

/// Writes a new file whole, or not at all.
///
/// # Errors
/// The disk's.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path);
    let write = || {
        let mut file = File::options().write(true).create_new(true).open(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        rename(&part, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// Copies a file under a name that is not whole yet; gives that name. `go_on` is asked with the bytes copied.
///
/// # Errors
/// The disk's; nothing is left behind then.
pub(super) fn copy_to_part(
    from: &Path,
    to: &Path,
    mut go_on: impl FnMut(u64) -> bool,
) -> io::Result<PathBuf> {
    let part = part(to);
    let mut copy = || {
        let mut source = open(from)?;
        let mut file = File::options().write(true).create_new(true).open(&part)?;
        let (mut buffer, mut copied) = (vec![0; 256 * 1024], 0);
        loop {
            if !go_on(copied) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = source.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n])?;
            copied += n as u64;
        }
        if let Ok(modified) = source.metadata()?.modified() {
            let _ = file.set_modified(modified);
        }
        file.sync_all()
    };
    copy().inspect_err(|_| drop(std::fs::remove_file(&part)))?;
    Ok(part)
}

/// Writes the frames from `from` to `until` of a WAV under a name that is not whole yet; gives that name.
///
/// # Errors
/// The disk's; nothing is left behind then.
pub(super) fn cut_to_part(path: &Path, file: &File, wav: &Wav, from: u64, until: u64) -> io::Result<PathBuf> {
    let part = part(path);
    let frame = u64::from(wav.frame);
    let length = (until - from) * frame;
    let cut = || {
        let mut out = File::options().write(true).create_new(true).open(&part)?;
        out.write_all(&wav.header(&wav.format(file)?, length))?;
        let mut buffer = vec![0; 256 * 1024];
        let (mut at, end) = (wav.data_at + from * frame, wav.data_at + until * frame);
        while at < end {
            let n = (end - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..n], at)?;
            out.write_all(&buffer[..n])?;
            at += n as u64;
        }
        if length % 2 == 1 {
            out.write_all(&[0])?;
        }
        out.sync_all()
    };
    cut().inspect_err(|_| drop(std::fs::remove_file(&part)))?;
    Ok(part)
}

/// What has changed in the watched folders.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files to look at, from the root.
    pub files: Vec<PathBuf>,
    /// Files that a writer has closed.
    pub closed: Vec<PathBuf>,
    /// Events were lost, or folders came and went: everything has to be looked at.
    pub rescan: bool,
}

/// Watches folders with inotify(7).
pub(super) struct Watcher {
    pub fd: OwnedFd,
    folders: HashMap<i32, PathBuf>,
}

impl Watcher {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the system has no more instances for this user.
    pub fn new() -> io::Result<Watcher> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        Ok(Watcher { fd, folders: HashMap::new() })
    }

    /// Watches these folders and no others.
    ///
    /// # Errors
    /// The first one that can't be watched, such as when the system's limit is reached.
    pub fn watch(&mut self, root: &Path, folders: &[PathBuf]) -> io::Result<()> {
        use inotify::WatchFlags as Flag;
        let flags = Flag::CREATE
            | Flag::MODIFY
            | Flag::CLOSE_WRITE
            | Flag::MOVE
            | Flag::DELETE
            | Flag::DELETE_SELF
            | Flag::MOVE_SELF
            | Flag::ATTRIB
            | Flag::ONLYDIR;
        let mut watched = HashMap::new();
        let mut failed = None;
        for folder in folders {
            match inotify::add_watch(&self.fd, root.join(folder), flags) {
                Ok(number) => drop(watched.insert(number, folder.clone())),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        for number in self.folders.keys().filter(|n| !watched.contains_key(n)) {
            let _ = inotify::remove_watch(&self.fd, *number);
        }
        self.folders = watched;
        failed.map_or(Ok(()), |e| Err(e.into()))
    }

    /// Takes what there is, without waiting.
    pub fn take(&mut self) -> Changes {
        use inotify::ReadFlags as Flag;
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        // A bound, so that a folder that never rests does not hold up the rest.
        for _ in 0..limits::WATCH_EVENTS {
            let Ok(event) = reader.next() else { return changes };
            let flags = event.events();
            let gone = Flag::DELETE_SELF | Flag::MOVE_SELF | Flag::UNMOUNT;
            if flags.intersects(Flag::QUEUE_OVERFLOW | gone) {
                changes.rescan = true;
            }
            let Some(folder) = self.folders.get(&event.wd()) else { continue };
            let Some(name) = event.file_name() else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            if flags.contains(Flag::ISDIR) {
                changes.rescan |= !flags.contains(Flag::ATTRIB);
                continue;
            }
            let path = folder.join(name);
            if flags.contains(Flag::CLOSE_WRITE) {
                changes.closed.push(path.clone());
            }
            if changes.files.last() != Some(&path) {
                changes.files.push(path);
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::wav;
    use super::super::wav::tests::pcm;
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_walk_finds_recordings_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("in");
        std::fs::create_dir_all(root.join("2026-01-07/deep")).unwrap();
        std::fs::create_dir_all(root.join(".bin/x")).unwrap();
        let odd = OsStr::from_bytes(b"odd\xff.wav");
        for name in
            ["a.WAV", "2026-01-07/b.opus", "2026-01-07/deep/c.wav", "n.txt", ".hidden.wav", ".bin/x/d.wav"]
        {
            std::fs::write(root.join(name), name).unwrap();
        }
        std::fs::write(root.join(odd), "x").unwrap();
        std::fs::write(dir.path().join("secret.wav"), "s").unwrap();
        symlink(dir.path().join("secret.wav"), root.join("out.wav")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        let all = |deep| {
            let mut found = Vec::new();
            let extensions = ["wav".to_string(), "opus".to_string()];
            let walked = walk(&root, deep, &extensions, |path, stat| found.push((path, stat.bytes))).unwrap();
            found.sort();
            (found.into_iter().map(|(p, _)| p.to_string_lossy().into_owned()).collect::<Vec<_>>(), walked)
        };
        let (found, walked) = all(true);
        assert_eq!(found, ["2026-01-07/b.opus", "2026-01-07/deep/c.wav", "a.WAV", "odd\u{fffd}.wav"]);
        assert_eq!((walked.links, walked.folders.len()), (2, 3));
        assert_eq!(all(false).0, ["a.WAV", "odd\u{fffd}.wav"]);
        assert!(open(&root.join("out.wav")).is_err() && stat(&root.join("out.wav")).is_none());
        let mut binned = Vec::new();
        walk_bin(&root, &["wav".into()], |id, path, _| binned.push((id, path)));
        assert_eq!(binned, [("x".to_string(), PathBuf::from("d.wav"))]);
    }

    #[test]
    fn nothing_is_replaced_and_half_a_move_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b", "there"] {
            std::fs::write(at(name), name).unwrap();
        }
        let error = rename_all(&[(at("a"), at("c")), (at("b"), at("there"))]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(at("a").exists() && at("b").exists() && !at("c").exists());
        assert_eq!(std::fs::read(at("there")).unwrap(), b"there");
        std::fs::write(at("n.wav"), "").unwrap();
        std::fs::write(at("n-2.wav"), "").unwrap();
        assert_eq!(free_name(at("n.wav")), at("n-3.wav"));
        write_new(&at("new"), b"x").unwrap();
        assert!(write_new(&at("new"), b"y").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6, "no parts are left");
    }

    #[test]
    fn a_cut_has_exactly_the_samples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        let data: Vec<u8> = (0..3_000_u32).map(|n| (n * 7) as u8).collect();
        std::fs::write(&path, pcm(1, 8_000, 24, &data)).unwrap();
        let file = open(&path).unwrap();
        let wav = wav::read(&file, file.metadata().unwrap().len()).unwrap();
        for (from, until) in [(0, 1_000), (1, 2), (333, 334), (999, 1_000)] {
            let part = cut_to_part(&path, &file, &wav, from, until).unwrap();
            let mut expected = pcm(1, 8_000, 24, &data[from as usize * 3..until as usize * 3]);
            if expected.len() % 2 == 1 {
                // The size of the whole counts the padding.
                expected.push(0);
                let whole = (expected.len() as u32 - 8).to_le_bytes();
                expected[4..8].copy_from_slice(&whole);
            }
            assert_eq!(std::fs::read(&part).unwrap(), expected, "{from}..{until}");
            std::fs::remove_file(part).unwrap();
        }
    }

    #[test]
    fn the_watch_says_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("day")).unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.watch(dir.path(), &[PathBuf::new(), "day".into()]).unwrap();
        std::fs::write(dir.path().join("day/a.wav"), "x").unwrap();
        std::fs::write(dir.path().join(".telltale-1.part"), "x").unwrap();
        let changes = watcher.take();
        assert_eq!(changes.closed, [PathBuf::from("day/a.wav")]);
        assert!(changes.files.iter().all(|p| p == Path::new("day/a.wav")) && !changes.rescan);
        std::fs::rename(dir.path().join("day"), dir.path().join("other")).unwrap();
        assert!(watcher.take().rescan);
    }
}
