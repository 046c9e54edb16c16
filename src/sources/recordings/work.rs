//! The thread `peaks`: what takes long. Waveforms, taking in files that were dropped, putting headers right after a crash.
//!
//! One thing at a time, what somebody waits for first. A stop is noticed within one chunk of a file. What takes longer than a
//! moment is shown as a job with its progress.

use super::peaks::{Builder, Peaks};
use super::wav::{self, Length, Wav};
use super::{Op, Recordings, Request, files, sidecar};
use crate::clock::Wall;
use crate::limits;
use crate::model::{Draft, RecordingChange, WaveformState};
use crate::sources::inputs::Until;
use crossbeam::channel::{RecvTimeoutError, select};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Peaks(Arc<str>),
    Ingest(PathBuf),
    Repair(Arc<str>),
}

/// A job is shown once it has taken this long, and then this often.
const SHOWN: Duration = Duration::from_secs(1);

/// See the module above.
pub(super) struct Worker {
    hub: Arc<Recordings>,
    /// Of what grows.
    builders: HashMap<Arc<str>, Builder>,
    /// Bytes of stored peaks.
    stored: u64,
}

impl Worker {
    pub fn new(hub: Arc<Recordings>) -> Worker {
        Worker { hub, builders: HashMap::new(), stored: 0 }
    }

    /// Until it is over.
    pub fn run(mut self, until: &Until) {
        let folder = self.hub.data.join(super::PEAKS_FOLDER);
        if let Err(e) = std::fs::create_dir_all(&folder) {
            log::error!("recordings: failed to make `{}`, so no waveform is stored: {e}", folder.display());
        }
        self.stored = listed(&folder).iter().map(|(_, bytes, _)| bytes).sum();
        let hub = Arc::clone(&self.hub);
        loop {
            // What somebody waits for goes before what can wait.
            let work = hub.asked.1.try_recv().or_else(|_| {
                select! {
                    recv(until.daemon.receiver()) -> _ => Err(RecvTimeoutError::Disconnected),
                    recv(until.set.receiver()) -> _ => Err(RecvTimeoutError::Disconnected),
                    recv(hub.asked.1) -> work => work.map_err(|_| RecvTimeoutError::Disconnected),
                    recv(hub.later.1) -> work => work.map_err(|_| RecvTimeoutError::Disconnected),
                }
            });
            if until.is_over() {
                return;
            }
            match work {
                Ok(Work::Peaks(id)) => self.peaks(&id, until),
                Ok(Work::Ingest(path)) => self.ingest(&path, until),
                Ok(Work::Repair(id)) => self.repair(&id),
                Err(_) => return,
            }
        }
    }

    // ---- waveforms ----

    fn peaks(&mut self, id: &Arc<str>, until: &Until) {
        let Ok((entry, _, path)) = self.hub.find(id) else { return };
        let read = super::read_wav(&path).and_then(|(file, wav)| {
            let builder = Builder::new(wav).ok_or("its coding is not read here")?;
            Ok((file, wav, builder))
        });
        let (file, wav, fresh) = match read {
            Ok(read) => read,
            Err(why) => return self.failed(id, &why),
        };
        let builder = self.builders.remove(id).filter(|b| b.continues(&wav)).unwrap_or(fresh);
        match self.build(id, builder, &file, &wav, until) {
            Ok(Some(builder)) if entry.growing => {
                let peaks = Arc::new(builder.peaks());
                self.hub.lock().live.insert(Arc::clone(id), peaks);
                if self.builders.len() >= limits::PEAK_BUILDERS {
                    self.builders.clear();
                }
                self.builders.insert(Arc::clone(id), builder);
                self.done(id, WaveformState::None);
            }
            Ok(Some(builder)) => {
                self.store(id, &entry.stat, &builder.peaks());
                self.hub.lock().live.remove(id);
                // Only if it is still the file that was read.
                let same = files::stat(&path).is_some_and(|stat| stat == entry.stat);
                self.done(id, if same { WaveformState::Ready } else { WaveformState::None });
                if same {
                    self.hub.tell(id, RecordingChange::Waveform, None);
                }
            }
            // Stopped.
            Ok(None) => self.done(id, WaveformState::None),
            Err(e) => self.failed(id, &format!("failed to read: {e}")),
        }
    }

    /// Reads on; none when it was stopped.
    fn build(
        &self,
        id: &Arc<str>,
        mut builder: Builder,
        file: &File,
        wav: &Wav,
        until: &Until,
    ) -> io::Result<Option<Builder>> {
        let mut job = Job::new(&self.hub, format!("waveform-{id}"), "waveform", "live");
        job.message = Some(format!("waveform of {}", self.hub.one(id).map(|r| r.name).unwrap_or_default()));
        let (mut over, mut looks) = (false, 0_u32);
        let read = builder.read_on(file, wav, |frames| {
            looks += 1;
            if looks.is_multiple_of(16) {
                over = until.is_over();
                let share = frames as f64 / wav.frames().max(1) as f64;
                self.hub.lock().progress.insert(Arc::clone(id), share);
                job.progress(share, frames, wav.frames());
            }
            !over
        });
        self.hub.lock().progress.remove(id);
        job.end(
            read.as_ref().err().map(|e| format!("failed to read: {e}")).or(over.then(|| "stopped".into())),
        );
        read?;
        Ok((!over).then_some(builder))
    }

    fn done(&self, id: &str, waveform: WaveformState) {
        self.hub.lock().index.change(id, |e| e.waveform = waveform);
        self.hub.drawn.notify_all();
    }

    fn failed(&self, id: &Arc<str>, why: &str) {
        self.hub.lock().index.change(id, |e| {
            if e.error.is_none() && !e.growing {
                e.error = Some(why.into());
            }
        });
        self.done(id, WaveformState::Failed);
    }

    /// Stores peaks, and removes the oldest where they are too many.
    fn store(&mut self, id: &str, stat: &files::Stat, peaks: &Peaks) {
        let path = self.hub.peaks_path(id, stat);
        let Some(folder) = path.parent() else { return };
        let bytes = peaks.to_bytes();
        if self.stored + bytes.len() as u64 > limits::PEAKS_BYTES {
            let mut all = listed(folder);
            all.sort_by_key(|(.., used)| *used);
            // A tenth more than needed, so that it is not done every time.
            let enough = limits::PEAKS_BYTES / 10 * 9;
            self.stored = all.iter().map(|(_, bytes, _)| bytes).sum();
            for (path, size, _) in all {
                if self.stored + bytes.len() as u64 <= enough {
                    break;
                }
                if std::fs::remove_file(path).is_ok() {
                    self.stored -= size;
                }
            }
        }
        // Not synchronised: what a power cut leaves of it has the wrong checksum and is computed again.
        let part = path.with_extension("part");
        match std::fs::write(&part, &bytes).and_then(|()| std::fs::rename(&part, &path)) {
            Ok(()) => self.stored += bytes.len() as u64,
            Err(e) => {
                let _ = std::fs::remove_file(&part);
                log::warn!("recordings: failed to store a waveform: {e}");
            }
        }
    }

    // ---- files that were dropped ----

    /// Takes a file into the folder, with what stands beside it.
    fn ingest(&mut self, from: &Path, until: &Until) {
        let shared = self.hub.lock();
        let Some(root) = shared.folder.root.clone() else { return };
        drop(shared);
        let name = from.file_name().unwrap_or_default();
        let mut id = super::index::id_of(Path::new(name), 0);
        id.push_str(&format!("-{}", Wall::now().0 / 1000));
        let mut job = Job::new(&self.hub, format!("ingest-{id}"), "ingest", "dropbox");
        job.message = Some(name.to_string_lossy().into_owned());
        job.show("running");
        let besides = sidecar::names(from).into_iter().filter(|p| files::stat(p).is_some());
        let target = files::free_name(root.join(name));
        let moves: Vec<(PathBuf, PathBuf)> = besides
            .map(|p| {
                let place = sidecar::names(from).iter().position(|n| *n == p).unwrap_or(0);
                (p, sidecar::names(&target)[place].clone())
            })
            .chain([(from.to_path_buf(), target.clone())])
            .collect();
        let mut failed = None;
        for (from, to) in moves {
            let total = files::stat(&from).map_or(1, |s| s.bytes.max(1));
            let moved = match files::rename(&from, &to) {
                // From another file system: copied, and only then taken away.
                Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                    files::copy_to_part(&from, &to, |bytes| {
                        job.progress(bytes as f64 / total as f64, bytes, total);
                        !until.is_over()
                    })
                    .and_then(|part| files::rename(&part, &to))
                    .and_then(|()| std::fs::remove_file(&from))
                }
                other => other,
            };
            failed = moved.err().map(|e| format!("failed to take in `{}`: {e}", from.display())).or(failed);
        }
        if let Some(why) = &failed {
            log::warn!("recordings: {why}");
        }
        job.end_shown(failed);
    }

    // ---- what a crash left ----

    /// Puts the sizes in a header right. Samples stay as they are.
    fn repair(&mut self, id: &Arc<str>) {
        let Ok((entry, recording, path)) = self.hub.find(id) else { return };
        let mut job = Job::new(&self.hub, format!("recover-{id}"), "recover", "recovery");
        job.message = Some(format!("header of {}", recording.name));
        job.show("running");
        let mend = || -> Result<(), String> {
            let file = files::open_to_write(&path).map_err(|e| format!("failed to open for writing: {e}"))?;
            let data = file.metadata().map_err(|e| e.to_string())?;
            let wav = wav::read(&file, data.len())?;
            if data.len() != entry.stat.bytes || wav.length == Length::Right {
                return Err("it has changed meanwhile".into());
            }
            let patches =
                wav.patches(wav.data_len).ok_or("it has more than 4 GB, which its header can't say")?;
            for (at, bytes) in patches {
                use std::os::unix::fs::FileExt;
                file.write_all_at(&bytes, at).map_err(|e| format!("failed to write: {e}"))?;
            }
            // It was not recorded just now.
            if let Ok(modified) = data.modified() {
                let _ = file.set_modified(modified);
            }
            file.sync_all().map_err(|e| format!("failed to write: {e}"))
        };
        let failed = mend().err();
        match &failed {
            None => {
                log::info!("recordings: the header of `{}` was put right", recording.path);
                let hand = self.hub.lock().hand.clone();
                if let Some(hand) = hand {
                    let op = Op::Look(id.to_string(), "its header was put right");
                    let _ = hand.send(Request { op, answer: None });
                }
            }
            Some(why) => {
                log::warn!("recordings: the header of `{}` is wrong and stays so: {why}", recording.path)
            }
        }
        job.end_shown(failed);
    }
}

/// Stored peaks: where, how many bytes, when they were looked at last.
fn listed(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let facts = |entry: std::fs::DirEntry| {
        let data = entry.metadata().ok()?;
        Some((entry.path(), data.len(), data.modified().ok()?))
    };
    entries.flatten().take(limits::RECORDINGS).filter_map(facts).collect()
}

/// A job as it is shown: not at all when it is over in a moment.
struct Job<'h> {
    hub: &'h Recordings,
    id: String,
    kind: &'static str,
    source: &'static str,
    message: Option<String>,
    begun: Instant,
    shown: Option<Instant>,
    at: (f64, u64, u64),
}

impl<'h> Job<'h> {
    fn new(hub: &'h Recordings, id: String, kind: &'static str, source: &'static str) -> Job<'h> {
        let id: String = id.chars().take(64).collect();
        Job { hub, id, kind, source, message: None, begun: Instant::now(), shown: None, at: (0.0, 0, 0) }
    }

    fn progress(&mut self, share: f64, done: u64, total: u64) {
        self.at = (share.clamp(0.0, 1.0), done, total);
        if self.shown.unwrap_or(self.begun).elapsed() >= SHOWN {
            self.show("running");
        }
    }

    fn payload(&self, status: &str, error: Option<&str>) -> Value {
        let (share, done, total) = self.at;
        let elapsed = self.begun.elapsed().as_secs_f64();
        let mut payload = json!({
            "job_id": self.id, "kind": self.kind, "status": status, "progress": share, "source": self.source,
            "elapsed_s": (elapsed * 10.0).round() / 10.0,
        });
        if let (Value::Object(members), true) = (&mut payload, total > 0) {
            members.insert("done".into(), done.into());
            members.insert("total".into(), total.into());
            if status == "running" && share > 0.01 {
                members.insert("eta_s".into(), (elapsed * (1.0 - share) / share).round().into());
            }
        }
        if let Value::Object(members) = &mut payload {
            for (name, text) in [("message", self.message.as_deref()), ("error", error)] {
                if let Some(text) = text {
                    members.insert(name.into(), text.into());
                }
            }
        }
        payload
    }

    fn show(&mut self, status: &str) {
        self.shown = Some(Instant::now());
        super::publish(&self.hub.bus, "job_status", &self.payload(status, None));
    }

    /// Over; said only when it was shown before.
    fn end(mut self, error: Option<String>) {
        if self.shown.is_some() {
            self.finish(error);
        }
    }

    fn end_shown(mut self, error: Option<String>) {
        self.finish(error);
    }

    fn finish(&mut self, error: Option<String>) {
        if error.is_none() {
            self.at.0 = 1.0;
            self.at.1 = self.at.2;
        }
        let status = if error.is_some() { "failed" } else { "completed" };
        let draft = Draft::of("job_status", &self.payload(status, error.as_deref())).map(Draft::retired);
        match draft.map(|draft| self.hub.bus.publish(draft)) {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => log::debug!("recordings: the end of a job was not published: {e}"),
            Err(e) => log::error!("recordings: the end of a job was not published: {e}"),
        }
    }
}
