//! Recordings: a folder that recorders write into, watched, listed, played, kept and cleared.
//!
//! **Promises.** What is in the folder is what is listed, whoever changes it: files that grow, are renamed, replaced, half
//! there, unreadable or gone; a folder that comes later. Samples are never changed; nothing is overwritten; what is thrown
//! away goes to a bin first. Nothing is written to the store for a file that nobody touched.
//! **Threads.** `recordings` alone changes files and the index, in order; `peaks` does what takes long (waveforms, taking in
//! dropped files, putting headers right). Callers of [`Recordings`] read the index under a lock that nobody holds over I/O, and hand
//! what changes something to the thread. **Does not:** record, encode, transcribe, or follow links out of the folder.

mod files;
mod index;
mod keeper;
mod peaks;
mod retention;
mod sidecar;
mod wav;
mod work;

pub use self::index::{Day, Page, Place, Query, Sort, Sum};
pub(super) use self::wav::pcm16_header;

use self::files::Stat;
use self::index::{Entry, Index};
use self::keeper::Keeper;
use self::peaks::Peaks;
use self::wav::{Length, Wav};
use self::work::{Work, Worker};
use super::inputs::Until;
use super::{Handles, publish};
use crate::alerts::Alerts;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{Recording, RecordingChange, RecordingChanged, WaveformState};
use crate::store::Store;
use crate::threads;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Where the bench leaves its recordings, in the data folder.
pub const BENCH_FOLDER: &str = "bench-recordings";
/// Stored waveforms, in the data folder.
const PEAKS_FOLDER: &str = "peaks";
/// How long a caller waits for the thread that changes things.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a caller waits for a waveform before it is told that it is on its way.
const WAVE_WAIT: Duration = Duration::from_millis(400);

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No folder is configured.
    Off,
    /// There is no such recording.
    Unknown,
    /// Not as things stand; the code says why.
    Conflict,
    /// What was asked for makes no sense.
    Invalid,
    /// The disk has no room for it.
    NoRoom,
    /// The disk or the store refused.
    Failed,
    /// Too much is under way.
    Busy,
}

/// A refusal: its kind, a short stable code, a sentence.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Refusal {
    pub kind: Refused,
    pub code: &'static str,
    pub detail: String,
}

fn refuse(kind: Refused, code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal { kind, code, detail: detail.into() }
}

fn failed(what: &str, e: &io::Error) -> Refusal {
    if e.kind() == io::ErrorKind::StorageFull {
        return refuse(
            Refused::NoRoom,
            "disk_full",
            format!("{what}: the disk is full; empty the bin, or take files off it"),
        );
    }
    let hint = match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; is the folder writable for the user telltale runs as?"
        }
        _ => "",
    };
    refuse(Refused::Failed, "file_failed", format!("{what}: {e}{hint}"))
}

/// What to change about a recording.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Patch {
    pub name: Option<String>,
    /// Some(None) clears it.
    pub label: Option<Option<String>>,
    pub pinned: Option<bool>,
    pub restore: bool,
    /// Only when this is still its name.
    pub if_name: Option<String>,
}

/// A piece to cut out of a WAV.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Clip {
    pub start_s: f64,
    pub end_s: f64,
    pub name: Option<String>,
    /// The piece takes the place of the original, which goes to the bin.
    pub overwrite: bool,
}

/// What the thread is asked to do.
enum Op {
    Patch(String, Patch),
    Bin(String),
    Purge(String),
    EmptyBin,
    RunHeld,
    /// A clip was cut: what from, the file, its sidecar, and what was wished for.
    Clipped(String, PathBuf, Value, Clip),
    /// A file was changed by the other thread; for what reason.
    Look(String, &'static str),
}

struct Request {
    op: Op,
    answer: Option<Sender<Result<Value, Refusal>>>,
}

/// The way to the thread while it runs.
#[derive(Clone)]
struct Hand {
    to: Sender<Request>,
    wake: Arc<OwnedFd>,
}

impl Hand {
    fn send(&self, request: Request) -> Result<(), Refusal> {
        let busy = || refuse(Refused::Busy, "busy", "too many changes of recordings are waiting");
        match self.to.try_send(request) {
            Ok(()) => {
                let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(busy()),
            Err(TrySendError::Disconnected(_)) => {
                Err(refuse(Refused::Busy, "restarting", "the recordings are being loaded again"))
            }
        }
    }
}

/// A recording's waveform.
#[derive(Clone, Debug)]
pub enum Waveform {
    /// As it is drawn.
    Drawn(Value),
    /// Being computed; how far, from 0 to 1.
    Pending(Option<f64>),
}

/// How the folder stands.
#[derive(Clone, Debug, Default)]
struct Folder {
    settings: config::Recordings,
    /// None: recordings are off.
    root: Option<PathBuf>,
    /// Total, used, free.
    disk: Option<(u64, u64, u64)>,
    held: Option<String>,
}

#[derive(Default)]
struct Shared {
    folder: Folder,
    index: Index,
    /// Peaks of what grows.
    live: HashMap<Arc<str>, Arc<Peaks>>,
    /// How far waveforms are, from 0 to 1.
    progress: HashMap<Arc<str>, f64>,
    hand: Option<Hand>,
}

/// The recordings, for whoever asks for them or changes them.
pub struct Recordings {
    bus: Arc<Bus>,
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    data: PathBuf,
    shared: Mutex<Shared>,
    /// A waveform has come on.
    drawn: Condvar,
    /// What somebody waits for, and what can wait.
    asked: (Sender<Work>, Receiver<Work>),
    later: (Sender<Work>, Receiver<Work>),
}

impl Recordings {
    /// Nothing is watched yet. `data` is the data folder.
    pub fn new(bus: Arc<Bus>, store: Arc<Store>, alerts: Arc<Alerts>, data: PathBuf) -> Self {
        Recordings {
            bus,
            store,
            alerts,
            data,
            shared: Mutex::default(),
            drawn: Condvar::new(),
            asked: bounded(limits::PEAKS_ASKED),
            later: bounded(limits::PEAKS_LATER),
        }
    }

    /// Where the bench leaves its recordings, when they are what is watched.
    pub fn bench_folder(&self, config: &config::Config) -> Option<PathBuf> {
        (config.bench && config.recordings.folder.is_none()).then(|| self.data.join(BENCH_FOLDER))
    }

    /// Starts the threads for what the configuration names, if it names a folder.
    pub(super) fn start(
        self: &Arc<Self>,
        config: &config::Config,
        until: &Until,
        handles: &mut Handles,
    ) -> io::Result<()> {
        let mut settings = config.recordings.clone();
        if let Some(folder) = self.bench_folder(config) {
            // The bench's own: little, and never in the way.
            settings.folder = Some(folder);
            settings.keep_bytes.get_or_insert(limits::BENCH_RECORDINGS_BYTES);
            settings.recorder.get_or_insert_with(|| "rec1".into());
        }
        for extension in &mut settings.extensions {
            *extension = extension.trim_start_matches('.').to_lowercase();
        }
        let Some(root) = settings.folder.clone() else {
            *self.lock() = Shared::default();
            return Ok(());
        };
        let (to, requests) = bounded(limits::RECORDING_REQUESTS);
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let hand = Hand { to, wake: Arc::clone(&wake) };
        let folder = Folder { settings: settings.clone(), root: Some(root.clone()), ..Folder::default() };
        *self.lock() = Shared { folder, hand: Some(hand), ..Shared::default() };
        self.asked.1.try_iter().chain(self.later.1.try_iter()).for_each(drop);
        let keeper = Keeper::new(Arc::clone(self), settings, root, requests, wake);
        let theirs = until.clone();
        handles.push(threads::spawn("recordings", limits::STACK, move || keeper.run(&theirs))?);
        let (worker, theirs) = (Worker::new(Arc::clone(self)), until.clone());
        handles.push(threads::spawn("peaks", limits::STACK, move || worker.run(&theirs))?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// # Errors
    /// When no folder is configured.
    fn on(&self) -> Result<MutexGuard<'_, Shared>, Refusal> {
        let shared = self.lock();
        if shared.folder.root.is_some() {
            return Ok(shared);
        }
        let detail =
            "no folder of recordings is configured; set `folder` under [recordings] in the configuration";
        Err(refuse(Refused::Off, "no_recordings", detail))
    }

    /// One page of the list, with what there is in sum.
    ///
    /// # Errors
    /// When no folder is configured.
    pub fn list(&self, query: &Query) -> Result<(Page, Value), Refusal> {
        let shared = self.on()?;
        let page = shared.index.page(query, &shared.folder.settings);
        let (sums, folder) = (shared.index.sums(), shared.folder.clone());
        drop(shared);
        let summary = json!({
            "count": sums.live.count,
            "bytes": sums.live.bytes,
            "pinned": sums.pinned,
            "bin": sums.bin,
            "disk": folder.disk.map(|(total, used, free)| json!({ "total": total, "used": used, "free": free })),
            "folder": folder.root,
            "retention": folder.settings.retention_json(),
            "purge_held": folder.held,
        });
        Ok((page, summary))
    }

    /// One recording.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn one(&self, id: &str) -> Result<Recording, Refusal> {
        let shared = self.on()?;
        let entry = shared.index.get(id).ok_or_else(|| unknown(id))?;
        Ok(shared.index.show(entry, &shared.folder.settings))
    }

    /// Changes name, label, pin, or takes it out of the bin.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn patch(&self, id: &str, patch: Patch) -> Result<Value, Refusal> {
        self.ask(Op::Patch(id.into(), patch))
    }

    /// Moves it to the bin.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn bin(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(Op::Bin(id.into()))
    }

    /// Removes it from the bin for good.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn purge(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(Op::Purge(id.into()))
    }

    /// Removes all that is in the bin and not pinned.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn empty_bin(&self) -> Result<Value, Refusal> {
        self.ask(Op::EmptyBin)
    }

    /// Does what retention did not dare to do by itself.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn run_held(&self) -> Result<Value, Refusal> {
        self.ask(Op::RunHeld)
    }

    /// Cuts a piece out of a WAV into a new recording, sample by sample as it is.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn clip(&self, id: &str, clip: Clip) -> Result<Value, Refusal> {
        let (entry, recording, path) = self.find(id)?;
        if entry.binned_at.is_some() {
            return Err(refuse(Refused::Conflict, "binned", "it is in the bin; restore it first"));
        }
        if clip.overwrite && entry.growing {
            return Err(refuse(
                Refused::Conflict,
                "growing",
                "it is still being recorded; cut it into a new one",
            ));
        }
        if clip.overwrite && entry.pinned {
            return Err(refuse(
                Refused::Conflict,
                "pinned",
                "it is pinned; cut it into a new one, or unpin it first",
            ));
        }
        if let Some(name) = &clip.name {
            keeper::good_name(name, &entry.path)?;
        }
        let (file, wav) = read_wav(&path).map_err(|detail| refuse(Refused::Conflict, "no_wav", detail))?;
        if wav.coding.is_none() {
            return Err(refuse(Refused::Conflict, "no_wav", "only WAV files of plain samples can be cut"));
        }
        let frame_at = |s: f64| (s * f64::from(wav.rate)).round().clamp(0.0, wav.frames() as f64) as u64;
        let (from, until) = (frame_at(clip.start_s), frame_at(clip.end_s));
        if from >= until {
            let detail = format!(
                "start_s is {} and end_s is {}; expected two places within {} s that have samples between them",
                clip.start_s,
                clip.end_s,
                wav.frames() as f64 / f64::from(wav.rate)
            );
            return Err(refuse(Refused::Invalid, "bad_span", detail));
        }
        let bytes = (until - from) * u64::from(wav.frame);
        if files::disk(&path).is_some_and(|(.., free)| free < bytes + limits::ROOM_LEFT) {
            let detail = format!("the clip takes {bytes} bytes and the disk has no room for it");
            return Err(refuse(Refused::NoRoom, "disk_full", detail));
        }
        let part = files::cut_to_part(&path, &file, &wav, from, until)
            .map_err(|e| failed("failed to write the clip", &e))?;
        let rate = f64::from(wav.rate);
        let sidecar = sidecar::of_clip(&recording, from as f64 / rate, until as f64 / rate);
        let given = part.clone();
        self.ask(Op::Clipped(id.into(), part, sidecar, clip))
            .inspect_err(|_| drop(std::fs::remove_file(given)))
    }

    /// Opens it for playing; a growing one as it is at this moment.
    ///
    /// # Errors
    /// When it is unknown or can't be opened.
    pub fn open(&self, id: &str) -> Result<Opened, Refusal> {
        let (entry, recording, path) = self.find(id)?;
        let open = || {
            let file = files::open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, mut length) =
            open().map_err(|e| failed(&format!("failed to open `{}`", recording.path), &e))?;
        let mut patches = Vec::new();
        let extension = files::extension(&entry.path);
        if extension == "wav"
            && let Ok(wav) = wav::read(&file, length)
            && wav.length == Length::Wrong
            && let Some(right) = wav.patches(wav.data_len)
        {
            // A browser plays what the header says, so the header says what is there.
            patches = right;
            length = wav.data_at + wav.data_len;
        }
        let etag = if entry.growing {
            // Bytes that are there stay as they are while it grows: a seek in an earlier answer goes on in this one.
            format!("\"{}-growing\"", entry.id)
        } else {
            format!("\"{}-{length:x}-{:x}\"", entry.id, entry.stat.modified_ns)
        };
        Ok(Opened {
            name: recording.name,
            extension,
            etag,
            growing: entry.growing,
            length,
            modified: entry.modified(),
            file,
            patches,
        })
    }

    /// What goes into an archive: the ids, or what matches; files and what stands beside them, with names that are unique.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub fn archive(&self, ids: Option<&[String]>, query: &Query) -> Result<Vec<Packed>, Refusal> {
        let shared = self.on()?;
        let ids: Vec<Arc<str>> = match ids {
            Some(ids) => {
                let known =
                    |id: &String| shared.index.get(id).map(|e| Arc::clone(&e.id)).ok_or_else(|| unknown(id));
                ids.iter().map(known).collect::<Result<_, _>>()?
            }
            None => shared.index.ids(query, limits::ARCHIVE + 1),
        };
        if ids.is_empty() {
            return Err(refuse(Refused::Unknown, "nothing_matches", "no recording matches"));
        }
        if ids.len() > limits::ARCHIVE {
            let detail = format!("more than {} recordings match; choose fewer at a time", limits::ARCHIVE);
            return Err(refuse(Refused::Invalid, "too_many", detail));
        }
        let root = shared.folder.root.clone().unwrap_or_default();
        let entries: Vec<(Arc<str>, PathBuf, Arc<Path>)> = ids
            .iter()
            .filter_map(|id| shared.index.get(id))
            .map(|e| (Arc::clone(&e.id), root.join(e.place()), Arc::clone(&e.path)))
            .collect();
        drop(shared);
        let (mut packed, mut names) = (Vec::new(), BTreeSet::new());
        for (id, place, path) in entries {
            let name = unique(&safe(&path), &mut names);
            packed.push(Packed { name, what: What::Recording(id.to_string()) });
            for (beside, shown) in sidecar::names(&place).into_iter().zip(sidecar::names(&path)) {
                // Those of the stem come with the first of their recordings.
                if beside.is_file()
                    && !packed.iter().any(|p| matches!(&p.what, What::Beside(b) if *b == beside))
                {
                    packed
                        .push(Packed { name: unique(&safe(&shown), &mut names), what: What::Beside(beside) });
                }
            }
        }
        Ok(packed)
    }

    /// Opens a part of an archive.
    ///
    /// # Errors
    /// When it has gone meanwhile.
    pub fn open_packed(&self, packed: &Packed) -> Result<Opened, Refusal> {
        match &packed.what {
            What::Recording(id) => self.open(id),
            What::Beside(path) => {
                let open = || {
                    let file = files::open(path)?;
                    let stat = files::stat(path).ok_or(io::ErrorKind::NotFound)?;
                    Ok((file, stat))
                };
                let (file, stat) =
                    open().map_err(|e| failed("failed to open a file beside a recording", &e))?;
                Ok(Opened {
                    name: packed.name.clone(),
                    extension: files::extension(path),
                    etag: String::new(),
                    growing: false,
                    length: stat.bytes,
                    modified: Wall(stat.modified_ns / 1_000_000),
                    file,
                    patches: Vec::new(),
                })
            }
        }
    }

    /// Its waveform in `points` pairs, of all of it or from one second to another.
    ///
    /// # Errors
    /// When it is unknown, or of a format that is not read here.
    pub fn waveform(
        &self,
        id: &str,
        points: usize,
        span: (Option<f64>, Option<f64>),
    ) -> Result<Waveform, Refusal> {
        let no = |detail: &str| refuse(Refused::Conflict, "no_waveform", detail);
        let until = Instant::now() + WAVE_WAIT;
        let mut asked = false;
        loop {
            let (entry, _, path) = self.find(id)?;
            let wav = entry.wav.filter(|w| w.coding.is_some());
            let wav = wav.ok_or_else(|| {
                no(entry.error.as_deref().unwrap_or("only WAV files of plain samples have a waveform here"))
            })?;
            let view = View::of(&wav, points, span);
            if entry.growing {
                let live = self.lock().live.get(&entry.id).cloned();
                if let Some(peaks) = live.filter(|p| p.frames >= wav.frames() || Instant::now() >= until) {
                    let view = View::of(&wav, points, span);
                    let complete = peaks.frames >= wav.frames();
                    return Ok(view.say(&entry, &wav, peaks.draw(points, view.from, view.until), complete));
                }
            } else {
                let stored = self.peaks_of(&entry);
                if let Some(peaks) = stored.as_ref().filter(|p| p.fine_enough(points, view.from, view.until))
                {
                    return Ok(view.say(&entry, &wav, peaks.draw(points, view.from, view.until), true));
                }
                // Little of it: as fast as looking anything up.
                if (view.until - view.from) * u64::from(wav.frame) <= limits::PEAK_DIRECT_BYTES {
                    let drawn = files::open(&path)
                        .and_then(|file| peaks::draw_exactly(&file, &wav, points, view.from, view.until))
                        .map_err(|e| failed("failed to read the recording", &e))?;
                    return Ok(view.say(&entry, &wav, drawn, true));
                }
                if let Some(peaks) = stored {
                    return Ok(view.say(&entry, &wav, peaks.draw(points, view.from, view.until), true));
                }
                if entry.waveform == WaveformState::Failed && asked {
                    return Err(no(entry.error.as_deref().unwrap_or("its samples can't be read")));
                }
            }
            if !asked {
                asked = true;
                self.want_peaks(&entry.id, true);
            }
            let shared = self.lock();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let progress = shared.progress.get(&entry.id).copied();
                drop(shared);
                if entry.growing || wav.data_len < limits::PEAK_ROUGH_BYTES {
                    return Ok(Waveform::Pending(progress));
                }
                let drawn = files::open(&path)
                    .and_then(|file| peaks::draw_roughly(&file, &wav, points, view.from, view.until))
                    .map_err(|e| failed("failed to read the recording", &e))?;
                return Ok(view.say(&entry, &wav, drawn, false));
            }
            drop(self.drawn.wait_timeout(shared, left.min(Duration::from_millis(50))));
        }
    }

    /// The stored peaks of a recording as it is now.
    fn peaks_of(&self, entry: &Entry) -> Option<Peaks> {
        let path = self.peaks_path(&entry.id, &entry.stat);
        let file = File::open(path).ok()?;
        // What is looked at is kept; told to the disk at most once a day.
        let old = |file: &File| file.metadata().ok()?.modified().ok()?.elapsed().ok();
        if old(&file).is_some_and(|age| age > Duration::from_secs(86_400)) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        Peaks::read(file)
    }

    fn peaks_path(&self, id: &str, stat: &Stat) -> PathBuf {
        self.data.join(PEAKS_FOLDER).join(format!("{id}.{:x}.{:x}.peaks", stat.bytes, stat.modified_ns))
    }

    /// Asks for the peaks of a recording; `now`: somebody waits for them.
    fn want_peaks(&self, id: &Arc<str>, now: bool) {
        let to = if now { &self.asked.0 } else { &self.later.0 };
        if to.try_send(Work::Peaks(Arc::clone(id))).is_ok() {
            self.lock().index.change(id, |e| e.waveform = WaveformState::Pending);
        }
    }

    /// The entry, what others see of it, and where it is.
    fn find(&self, id: &str) -> Result<(Entry, Recording, PathBuf), Refusal> {
        let shared = self.on()?;
        let entry = shared.index.get(id).ok_or_else(|| unknown(id))?.clone();
        let recording = shared.index.show(&entry, &shared.folder.settings);
        let path = shared.folder.root.clone().unwrap_or_default().join(entry.place());
        Ok((entry, recording, path))
    }

    /// Hands something to the thread and waits for its answer.
    fn ask(&self, op: Op) -> Result<Value, Refusal> {
        let hand = self.on()?.hand.clone();
        let starting = || refuse(Refused::Busy, "restarting", "the recordings are being loaded");
        let (answer, answers) = bounded(1);
        hand.ok_or_else(starting)?.send(Request { op, answer: Some(answer) })?;
        match answers.recv_timeout(ANSWER) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(starting()),
            Err(RecvTimeoutError::Timeout) => {
                Err(refuse(Refused::Busy, "slow", "the disk has not answered for 10 s; it may still be done"))
            }
        }
    }

    /// Publishes a change of a recording.
    fn tell(&self, id: &str, change: RecordingChange, reason: Option<&str>) {
        let shared = self.lock();
        let Some(entry) = shared.index.get(id) else { return };
        let recording = shared.index.show(entry, &shared.folder.settings);
        drop(shared);
        self.tell_of(recording, change, reason);
    }

    fn tell_of(&self, recording: Recording, change: RecordingChange, reason: Option<&str>) {
        let recording_id = recording.recording_id.clone();
        let reason = reason.map(String::from);
        publish(
            &self.bus,
            "recording_changed",
            &RecordingChanged { recording_id, change, recording, reason },
        );
    }
}

fn unknown(id: &str) -> Refusal {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
    refuse(Refused::Unknown, "unknown_id", format!("there is no recording {shown:?}"))
}

/// Opens a WAV and reads its header.
fn read_wav(path: &Path) -> Result<(File, Wav), String> {
    let file = files::open(path).map_err(|e| format!("failed to open: {e}"))?;
    let length = file.metadata().map_err(|e| format!("failed to open: {e}"))?.len();
    let wav = wav::read(&file, length)?;
    Ok((file, wav))
}

/// Which part of a waveform is asked for.
struct View {
    points: usize,
    from: u64,
    until: u64,
}

impl View {
    fn of(wav: &Wav, points: usize, (from, until): (Option<f64>, Option<f64>)) -> View {
        let at = |s: f64| ((s * f64::from(wav.rate)).max(0.0) as u64).min(wav.frames());
        let from = from.map_or(0, at);
        View { points, from, until: until.map_or(wav.frames(), at).max(from) }
    }

    fn say(&self, entry: &Entry, wav: &Wav, drawn: peaks::Drawn, complete: bool) -> Waveform {
        Waveform::Drawn(json!({
            "recording_id": &*entry.id,
            "sample_rate": wav.rate,
            "channels": wav.channels,
            "duration_s": entry.duration_ms().map(|ms| ms as f64 / 1000.0),
            "from_s": self.from as f64 / f64::from(wav.rate),
            "until_s": self.until as f64 / f64::from(wav.rate),
            "points": self.points,
            "scale": 32767,
            "min": drawn.min,
            "max": drawn.max,
            "complete": complete,
            "growing": entry.growing,
        }))
    }
}

/// A file that is being played.
pub struct Opened {
    /// Its name.
    pub name: String,
    /// In small letters.
    pub extension: String,
    /// In quotes; another when the bytes are.
    pub etag: String,
    /// There will be more under the same `etag`: what was sent is not to be kept for a later request.
    pub growing: bool,
    /// Bytes to be had.
    pub length: u64,
    /// When it changed last.
    pub modified: Wall,
    file: File,
    /// What stands in the place of the file's own bytes.
    patches: Vec<(u64, Vec<u8>)>,
}

impl Opened {
    /// Writes the bytes from `from` to `until`, a piece at a time.
    ///
    /// # Errors
    /// Those of the file and of `out`; a file that has become shorter is one.
    pub fn copy(&self, from: u64, until: u64, out: &mut dyn Write) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; limits::FILE_CHUNK];
        let mut at = from;
        while at < until {
            let n = (until - at).min(buffer.len() as u64) as usize;
            let piece = &mut buffer[..n];
            self.file.read_exact_at(piece, at)?;
            for (patch_at, patch) in self.patches.iter().filter(|(p, _)| *p < at + n as u64) {
                for (place, byte) in (*patch_at..).zip(patch).filter(|(place, _)| *place >= at) {
                    if let Some(there) = piece.get_mut((place - at) as usize) {
                        *there = *byte;
                    }
                }
            }
            out.write_all(piece)?;
            at += n as u64;
        }
        Ok(())
    }
}

/// One part of an archive.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its name in the archive.
    pub name: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Recording(String),
    Beside(PathBuf),
}

/// A path as a name in an archive: no folder above, nothing that another system can't have.
fn safe(path: &Path) -> String {
    let parts = path.iter().map(|part| {
        let part = part.to_string_lossy();
        let clean = |c: char| if c.is_control() || "\\/:*?\"<>|".contains(c) { '_' } else { c };
        match part.trim_matches(['.', ' ']) {
            "" => "_".to_string(),
            _ => part.chars().map(clean).collect(),
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

fn unique(name: &str, names: &mut BTreeSet<String>) -> String {
    let (stem, extension) = match name.rfind('.').filter(|dot| !name[*dot..].contains('/')) {
        Some(dot) => name.split_at(dot),
        None => (name, ""),
    };
    let mut free = name.to_string();
    let mut n = 1;
    while !names.insert(free.to_lowercase()) {
        n += 1;
        free = format!("{stem}-{n}{extension}");
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_archives_are_safe_and_unique() {
        for (path, expected) in [
            ("2026-01-07/a.wav", "2026-01-07/a.wav"),
            ("../../etc/passwd", "_/_/etc/passwd"),
            ("a:b\\c\n.wav", "a_b_c_.wav"),
        ] {
            assert_eq!(safe(Path::new(path)), expected);
        }
        let mut names = BTreeSet::new();
        let all = ["a.wav", "A.wav", "a.wav", "d.x/a", "d.x/a"].map(|name| unique(name, &mut names));
        assert_eq!(all, ["a.wav", "A-2.wav", "a-3.wav", "d.x/a", "d.x/a-2"]);
    }
}
