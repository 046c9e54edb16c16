//! Where settings come from and which wins: flags over the environment, the environment over the file, the file over the
//! defaults; and what is done when the file has faults.
//!
//! **Last good.** After a good start or reload the text of the file is kept as `last-good.toml` in the data folder. A
//! file that has faults at the next start is set aside for it, and the faults are handed on so that an alert is raised.
//! Faults of flags or variables, and a file that is not there, are never papered over.

use super::error::{ConfigError, Place};
use super::file;
use super::keys::KEYS;
use super::types::Config;
use super::value::nearest;
use crate::limits;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The name of the copy of the last good file, in the data folder.
pub const LAST_GOOD: &str = "last-good.toml";

/// What the command line says of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDR:PORT`.
    pub listen: Option<String>,
    /// `--data DIR`.
    pub data: Option<PathBuf>,
    /// `--www DIR`.
    pub www: Option<PathBuf>,
    /// `--no-bench`.
    pub no_bench: bool,
}

/// Everything that overrides the file; kept, so that a reload ends with the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The command line.
    pub flags: Flags,
    /// Variables whose name begins with `TELLTALE_`.
    pub env: BTreeMap<String, OsString>,
}

impl Overrides {
    /// These flags and the environment of this process.
    pub fn from_process(flags: Flags) -> Self {
        let ours = |name: OsString, value| {
            Some((name.into_string().ok()?, value)).filter(|(name, _)| name.starts_with("TELLTALE_"))
        };
        Overrides { flags, env: std::env::vars_os().filter_map(|(name, value)| ours(name, value)).collect() }
    }

    /// The file that is meant, if any.
    pub fn file(&self) -> Option<PathBuf> {
        let variable = || self.env.get("TELLTALE_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
        self.flags.config.clone().or_else(variable)
    }

    /// Puts variables and flags over `config`.
    fn apply(&self, config: &mut Config, errors: &mut Vec<ConfigError>, warnings: &mut Vec<String>) {
        for key in KEYS {
            let name = key.variable();
            let Some(value) = self.env.get(&name).filter(|v| !v.is_empty()) else { continue };
            match value.to_str().map(|text| key.kind.read_text(text)) {
                Some(Ok(value)) => (key.set)(config, value),
                Some(Err(wrong)) => errors.push(ConfigError {
                    place: Place::Variable(name),
                    detail: format!("it is {}; expected {}", wrong.written, wrong.expected),
                }),
                None => errors.push(ConfigError {
                    place: Place::Variable(name),
                    detail: "it is not UTF-8 text".into(),
                }),
            }
        }
        for name in self.env.keys().filter(|name| !is_known(name)) {
            let known: Vec<String> = KEYS.iter().map(|k| k.variable()).collect();
            let hint = nearest(name, known.iter().map(String::as_str))
                .map(|n| format!("; did you mean {n}?"))
                .unwrap_or_default();
            warnings.push(format!("the environment variable {name} means nothing to telltale{hint}"));
        }
        let flags = &self.flags;
        if let Some(listen) = &flags.listen
            && let Some(key) = KEYS.iter().find(|k| k.path() == "listen")
        {
            match key.kind.read_text(listen) {
                Ok(value) => (key.set)(config, value),
                Err(wrong) => errors.push(ConfigError {
                    place: Place::Flag("--listen"),
                    detail: format!("it is {}; expected {}", wrong.written, wrong.expected),
                }),
            }
        }
        if let Some(data) = &flags.data {
            config.data = data.clone();
        }
        if let Some(www) = &flags.www {
            config.www = Some(www.clone());
        }
        if flags.no_bench {
            config.bench = false;
        }
    }
}

/// Variables that are ours without being settings.
const OTHER_VARIABLES: [&str; 7] = [
    "TELLTALE_CONFIG",
    "TELLTALE_CLOCK",
    "TELLTALE_CLOCK_FILE",
    "TELLTALE_HTTP_TIMES",
    "TELLTALE_KEY",
    "TELLTALE_SYSTEMCTL",
    "TELLTALE_URL",
];

fn is_known(name: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name.starts_with("TELLTALE_TEST_")
        || KEYS.iter().any(|k| k.variable() == name)
}

/// Settings that were read, and what they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file they came from; none when there is none.
    pub file: Option<PathBuf>,
    /// The faults of that file, when its last good version was used instead.
    pub fallback: Option<Vec<ConfigError>>,
    /// What is strange but does no harm, a sentence each.
    pub warnings: Vec<String>,
    /// What was put over the file.
    pub overrides: Overrides,
    /// The text of the file, as it was read.
    text: Vec<u8>,
}

/// Reads the settings, falling back to the last good file where this one has faults.
///
/// # Errors
/// Every fault, where there is no last good file or where the faults are not in the file.
pub fn load(overrides: &Overrides) -> Result<Loaded, Vec<ConfigError>> {
    match attempt(overrides) {
        Ok(loaded) => Ok(loaded),
        Err(failed) => failed.fall_back(overrides),
    }
}

/// Reads the settings as they are, without falling back: what `telltale check` and a reload do.
///
/// # Errors
/// Every fault.
pub fn check(overrides: &Overrides) -> Result<Loaded, Vec<ConfigError>> {
    attempt(overrides).map_err(|failed| failed.errors)
}

/// The settings that `text` would give if the file were that.
pub(super) fn check_text(
    overrides: &Overrides,
    path: &Path,
    text: Vec<u8>,
) -> Result<Loaded, Vec<ConfigError>> {
    put_together(overrides, Some(path), text).map_err(|failed| failed.errors)
}

impl Loaded {
    /// Reads everything again, with the flags and the environment of the start, and keeps the text as last good.
    ///
    /// # Errors
    /// Every fault; the settings in use stay as they are.
    pub fn reload(&self) -> Result<Loaded, Vec<ConfigError>> {
        let mut new = check(&self.overrides)?;
        // The folder in use is the one of the start, whatever the new file says.
        let named = std::mem::replace(&mut new.config.data, self.config.data.clone());
        if let Err(e) = new.keep_as_last_good() {
            new.warnings.push(format!("failed to keep the configuration as {LAST_GOOD}: {e}"));
        }
        new.config.data = named;
        Ok(new)
    }

    /// Keeps the text of the file as the last good one, in the data folder, which is made if need be: written beside,
    /// synced and renamed. Does nothing when there is no file, when its last good version is already in use, or when the
    /// copy is the same.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep_as_last_good(&self) -> std::io::Result<()> {
        if self.file.is_none() || self.fallback.is_some() {
            return Ok(());
        }
        let folder = &self.config.data;
        let target = folder.join(LAST_GOOD);
        if std::fs::read(&target).is_ok_and(|there| there == self.text) {
            return Ok(());
        }
        std::fs::create_dir_all(folder)?;
        let beside = folder.join(format!("{LAST_GOOD}.new"));
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(&self.text)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&beside, &target)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

/// An attempt that failed, with as much as is known.
struct Failed {
    errors: Vec<ConfigError>,
    /// The data folder, as far as it could be made out.
    data: PathBuf,
    file: Option<PathBuf>,
    /// The file is there, and only it is at fault.
    only_the_file: bool,
}

impl Failed {
    fn fall_back(self, overrides: &Overrides) -> Result<Loaded, Vec<ConfigError>> {
        if !self.only_the_file {
            return Err(self.errors);
        }
        let path = self.data.join(LAST_GOOD);
        let Ok(text) = read_bounded(&path) else { return Err(self.errors) };
        match put_together(overrides, Some(&path), text) {
            Ok(mut loaded) => {
                loaded.file = self.file;
                // A last good file that names another folder must not move the database away from under the name
                // by which it was found.
                loaded.config.data = self.data;
                loaded.fallback = Some(self.errors);
                Ok(loaded)
            }
            Err(_) => Err(self.errors),
        }
    }
}

fn attempt(overrides: &Overrides) -> Result<Loaded, Failed> {
    let Some(path) = overrides.file() else { return put_together(overrides, None, Vec::new()) };
    match read_bounded(&path) {
        Ok(text) => put_together(overrides, Some(&path), text),
        Err(e) => {
            let hint = match e.kind() {
                std::io::ErrorKind::NotFound => "; is the path right?",
                std::io::ErrorKind::PermissionDenied => "; may this user read it?",
                _ => "",
            };
            let there = e.kind() != std::io::ErrorKind::NotFound;
            let error = ConfigError {
                place: Place::Whole(path.clone()),
                detail: format!("failed to read the configuration: {e}{hint}"),
            };
            let mut failed = match put_together(overrides, None, Vec::new()) {
                Ok(loaded) => {
                    Failed { errors: Vec::new(), data: loaded.config.data, file: None, only_the_file: true }
                }
                Err(failed) => failed,
            };
            failed.errors.insert(0, error);
            failed.file = Some(path);
            failed.only_the_file &= there;
            Err(failed)
        }
    }
}

fn put_together(overrides: &Overrides, path: Option<&Path>, text: Vec<u8>) -> Result<Loaded, Failed> {
    let (mut config, mut errors) = match path {
        Some(path) => {
            let reading = file::read(path, &text);
            (reading.config, reading.errors)
        }
        None if overrides.flags.no_bench => (Config::default(), Vec::new()),
        None => (Config::bench(), Vec::new()),
    };
    let mut warnings = Vec::new();
    overrides.apply(&mut config, &mut errors, &mut warnings);
    let file = path.map(Path::to_path_buf);
    if errors.is_empty() {
        return Ok(Loaded { config, file, fallback: None, warnings, overrides: overrides.clone(), text });
    }
    let only_the_file = errors.iter().all(|e| e.place.is_file());
    Err(Failed { errors, data: config.data, file, only_the_file })
}

pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(limits::CONFIG_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limits::CONFIG_BYTES {
        let why = format!("it has more than {} bytes", limits::CONFIG_BYTES);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}
