//! Errors of the SD card, remembered until it is another card.
//!
//! What a plain user may see: the counter of errors that ext4 keeps for each file system (`errors_count`, from the
//! kernel's documentation of /sys/fs/ext4; it is kept on the card), and the kernel's log where it may be read (the packaged
//! unit may not). A card is told by its CID, the number burnt into it. Which errors were seen is kept per card, so that
//! neither a restart nor a repair of the file system hides that a card has begun to die.

use super::proc::{folders, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is remembered of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Errors ever seen of it.
    pub errors: u64,
    /// The last of them, in words.
    pub last_error: String,
    /// When that was seen, RFC 3339.
    pub at: String,
    /// The counters of its file systems, as of the last look.
    #[serde(default)]
    ext4: BTreeMap<String, u64>,
    /// The boot whose log was read, and how many errors that had.
    #[serde(default)]
    boot: String,
    #[serde(default)]
    logged: u64,
}

/// A card that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its number.
    pub cid: String,
    /// Its block device, such as `mmcblk0`.
    pub device: String,
}

/// The card that is there: the first of them, on a Pi the only one.
pub fn card(root: &Path) -> Option<Card> {
    folders(root, "sys/block").into_iter().find_map(|folder| {
        let device = folder.rsplit('/').next().filter(|name| name.starts_with("mmcblk"))?.to_string();
        let cid = text(root, &format!("{folder}/device/cid"))?;
        let sound = (8..=64).contains(&cid.len()) && cid.bytes().all(|b| b.is_ascii_hexdigit());
        sound.then_some(Card { cid, device })
    })
}

/// The counters of the file systems on a device.
pub fn ext4_errors(root: &Path, device: &str) -> BTreeMap<String, u64> {
    folders(root, "sys/fs/ext4")
        .into_iter()
        .filter_map(|folder| {
            let name = folder.rsplit('/').next()?;
            let part = name.strip_prefix(device)?.strip_prefix('p')?;
            let ours = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let count = text(root, &format!("{folder}/errors_count"))?.parse().ok()?;
            ours.then(|| (name.to_string(), count))
        })
        .collect()
}

/// Whether a line of the kernel's log is an error of this device, such as
/// `I/O error, dev mmcblk0, sector 12 op 0x0:(READ)` or `mmcblk0: error -110 transferring data`.
fn is_error(line: &str, device: &str) -> bool {
    let of_it = line.match_indices(device).any(|(at, _)| {
        let after = line[at + device.len()..].chars().next();
        after.is_none_or(|c| !c.is_ascii_alphanumeric() || c == 'p')
    });
    of_it
        && ["I/O error", ": error ", "EXT4-fs error", "timed out", "response CRC error"]
            .iter()
            .any(|e| line.contains(e))
}

/// The kernel's log of this boot, record by record. Source: the kernel's documentation of /dev/kmsg.
#[derive(Debug, Default)]
pub struct KernelLog {
    file: Option<File>,
    /// Errors of the card that it had since it was opened; it begins with the oldest record the kernel still has.
    errors: u64,
    last: String,
}

/// Records read in one look, so that a flood of them does not hold up the health of the box.
const RECORDS: usize = 2_000;

impl KernelLog {
    /// Opens it where that is allowed.
    pub fn open(root: &Path) -> Self {
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(root.join("dev/kmsg")).ok();
        KernelLog { file, ..KernelLog::default() }
    }

    /// Counts what is new.
    fn read(&mut self, device: &str) {
        let Some(file) = &mut self.file else { return };
        let mut record = [0; 8_192];
        for _ in 0..RECORDS {
            match file.read(&mut record) {
                // One read is one record there; a plain file of a test gives several lines.
                Ok(n) if n > 0 => {
                    let text = String::from_utf8_lossy(record.get(..n).unwrap_or_default());
                    let messages = text.lines().map(|line| line.split_once(';').map_or(line, |(_, m)| m));
                    for line in messages.filter(|line| is_error(line, device)) {
                        self.errors += 1;
                        self.last = line.chars().filter(|c| !c.is_control()).take(160).collect();
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // Records were overwritten before they were read: the next read goes on behind them.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
                _ => return,
            }
        }
    }
}

/// Takes a look; true when there is something new to remember.
pub fn look(
    memory: &mut Memory,
    root: &Path,
    card: &Card,
    log: &mut KernelLog,
    boot: &str,
    now: &str,
) -> bool {
    let before = memory.clone();
    let counters = ext4_errors(root, &card.device);
    for (name, count) in &counters {
        // The first look at a card takes over what its file systems have counted; a repair sets them back to 0.
        let seen = memory.ext4.get(name).copied().unwrap_or(0);
        if *count > seen {
            memory.errors += count - seen;
            memory.last_error = format!("ext4 on {name} has counted {count}");
            memory.at = now.into();
        }
    }
    memory.ext4 = counters;
    if memory.boot != boot {
        memory.boot = boot.into();
        memory.logged = 0;
    }
    log.read(&card.device);
    // After a restart of the daemon the log of this boot is read again: what was counted is not counted twice.
    if log.errors > memory.logged {
        memory.errors += log.errors - memory.logged;
        memory.logged = log.errors;
        memory.last_error.clone_from(&log.last);
        memory.at = now.into();
    }
    *memory != before
}

/// `system_health.card`; nothing while the card is sound.
pub fn describe(memory: &Memory, card: &Card) -> Option<Value> {
    (memory.errors > 0).then(|| {
        json!({ "errors": memory.errors, "last_error": memory.last_error, "at": memory.at, "cid": card.cid, "device": card.device })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    const CID: &str = "035344534333324780 1234567800d200";

    fn sound(root: &Path) -> Card {
        write(root, "sys/block/loop0/size", "0\n");
        write(root, "sys/block/mmcblk0/device/cid", &format!("{}\n", CID.replace(' ', "")));
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n");
        write(root, "sys/fs/ext4/features/lazy_itable_init", "supported\n");
        write(root, "sys/fs/ext4/sda1/errors_count", "9\n");
        card(root).unwrap()
    }

    #[test]
    fn errors_are_latched_until_it_is_another_card() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let card = sound(root);
        assert_eq!(card.device, "mmcblk0");
        let (mut memory, mut log) = (Memory::default(), KernelLog::open(root));
        look(&mut memory, root, &card, &mut log, "b1", "t1");
        assert_eq!(
            (memory.errors, describe(&memory, &card)),
            (0, None),
            "another disk's errors are not the card's"
        );
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "3\n");
        assert!(look(&mut memory, root, &card, &mut log, "b1", "t2"));
        assert!(!look(&mut memory, root, &card, &mut log, "b1", "t3"), "no news, nothing to write");
        let shown = describe(&memory, &card).unwrap();
        assert_eq!(
            (&shown["errors"], &shown["at"], &shown["cid"]),
            (&3.into(), &"t2".into(), &card.cid.clone().into())
        );
        // A repair sets the counter back; the card is still the one that had errors.
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n");
        look(&mut memory, root, &card, &mut log, "b2", "t4");
        assert_eq!(memory.errors, 3);
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "1\n");
        look(&mut memory, root, &card, &mut log, "b2", "t5");
        assert_eq!((memory.errors, memory.at.as_str()), (4, "t5"));
    }

    #[test]
    fn the_kernels_log_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let card = sound(root);
        write(
            root,
            "dev/kmsg",
            "6,1,0,-;mmcblk0: mmc0:aaaa SC32G 29.7 GiB\n3,2,5,-;I/O error, dev mmcblk0, sector 12 op 0x0:(READ)\n3,3,5,-;I/O error, dev mmcblk01, sector 1\n3,4,6,-;usb 1-1: error -110\n",
        );
        let (mut memory, mut log) = (Memory::default(), KernelLog::open(root));
        look(&mut memory, root, &card, &mut log, "b1", "t1");
        assert_eq!(
            (memory.errors, memory.last_error.as_str()),
            (1, "I/O error, dev mmcblk0, sector 12 op 0x0:(READ)")
        );
        let mut file = File::options().append(true).open(root.join("dev/kmsg")).unwrap();
        writeln!(file, "3,5,9,-;EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455").unwrap();
        look(&mut memory, root, &card, &mut log, "b1", "t2");
        assert_eq!((memory.errors, memory.at.as_str()), (2, "t2"));
        // The daemon is started anew in the same boot, then the box is.
        look(&mut memory, root, &card, &mut KernelLog::open(root), "b1", "t3");
        assert_eq!(memory.errors, 2);
        look(&mut memory, root, &card, &mut KernelLog::open(root), "b2", "t4");
        assert_eq!(memory.errors, 4);
    }

    #[test]
    fn without_a_card_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(card(dir.path()), None);
        write(dir.path(), "sys/block/mmcblk0/device/cid", "no number\n");
        assert_eq!(card(dir.path()), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in ".*", device in "mmcblk[0-9]?") {
            let _ = is_error(&line, &device);
            let _ = is_error(&format!("{device}{line}{device}"), &device);
        }
    }
}
