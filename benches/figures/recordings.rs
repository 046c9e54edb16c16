//! Recordings: a list of 10,000, a WAV of a gigabyte.

use crate::Table;
use crate::harness::{Daemon, Options, until};
use crate::process::{cpu_s, memory};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const FILES: usize = 10_000;
const GIGABYTE: u32 = 1_000_000_000;

fn header(length: u32) -> Vec<u8> {
    let mut header =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\xbb\0\0\0\x77\x01\0\x02\0\x10\0data".to_vec();
    header[4..8].copy_from_slice(&(length + 36).to_le_bytes());
    header.extend(length.to_le_bytes());
    header
}

fn start(root: &Path, data: &Path) -> Daemon {
    let config = format!("[recordings]\nfolder = {root:?}\n");
    // As the unit in systemd/ starts it.
    let daemon = Options::default().config(&config).env("MALLOC_ARENA_MAX", "2").start_in(data);
    until("the folder to be read", || daemon.log().contains("read in").then_some(()));
    daemon
}

fn old(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(path).and_then(|f| f.set_modified(then)).expect("a time");
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The p-th of sorted times.
fn at(times: &[Duration], p: f64) -> f64 {
    ms(times[((times.len() - 1) as f64 * p) as usize])
}

/// Lists of 10,000 recordings: latency, memory, what it takes when nothing happens.
pub fn list(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("rec");
    std::fs::create_dir(&root).expect("a folder");
    let empty = start(&root, &dir.path().join("empty"));
    let before = memory(empty.pid());
    drop(empty);
    let body = [header(3_200), vec![0; 3_200]].concat();
    for n in 0..FILES {
        let path =
            root.join(format!("rec1-2026{:02}{:02}T{:06}Z.wav", 1 + n / 1000 % 12, 1 + n % 28, n % 60));
        let path = path.with_file_name(format!("{n:05}-{}", path.file_name().unwrap_or_default().display()));
        std::fs::write(&path, &body).expect("a file");
        old(&path);
    }
    let begun = Instant::now();
    let daemon = start(&root, &dir.path().join("data"));
    let listed = begun.elapsed();
    let all = "/api/recordings?limit=1&min_s=0.001";
    until("all headers", || (daemon.get(all).json()["total"] == FILES).then_some(()));
    table.note(
        "10,000 recordings: listening, listed, every header read",
        format!("{:.0} ms, {:.0} ms", ms(listed), ms(begun.elapsed())),
    );
    for (name, query) in [
        ("the first 100", "limit=100"),
        ("the first 1,000", "limit=1000"),
        ("text and name", "text=00012&sort=name"),
    ] {
        let mut times: Vec<Duration> = (0..100)
            .map(|_| {
                let begun = Instant::now();
                assert_eq!(daemon.get(&format!("/api/recordings?{query}")).status, 200);
                begun.elapsed()
            })
            .collect();
        times.sort();
        let value = format!("{:.1} / {:.1} ms", at(&times, 0.5), at(&times, 0.95));
        table.goal(
            &format!("10,000 recordings: {name}, p50 / p95"),
            value,
            "p95 < 100 ms",
            at(&times, 0.95) < 100.0,
        );
    }
    let now = memory(daemon.pid());
    let (text, anonymous) = more(before, now);
    let each = anonymous / FILES as f64;
    table.goal(
        "10,000 recordings: memory more than with none",
        format!("{text}, {each:.0} bytes each"),
        "< 20 MB anonymous",
        anonymous < 20e6,
    );
    let cpu = cpu_s(daemon.pid());
    std::thread::sleep(Duration::from_secs(20));
    let share = (cpu_s(daemon.pid()) - cpu) / 20.0 * 100.0;
    table.goal(
        "10,000 recordings: processor time when nothing happens",
        format!("{share:.2} % of a core"),
        "< 1 %",
        share < 1.0,
    );
}

/// A WAV of 1 GB: ranges, and how long its waveform takes.
pub fn gigabyte(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("rec");
    std::fs::create_dir(&root).expect("a folder");
    let path = root.join("big.wav");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).expect("a file"));
    out.write_all(&header(GIGABYTE)).expect("room");
    let mut state = 1_u32;
    let mut piece = vec![0; 1_000_000];
    for _ in 0..GIGABYTE as usize / piece.len() {
        for sample in piece.chunks_mut(2) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sample.copy_from_slice(&((state >> 18) as i16).to_le_bytes());
        }
        out.write_all(&piece).expect("room");
    }
    out.into_inner().expect("room").sync_all().expect("a disk");
    old(&path);
    let daemon = start(&root, &dir.path().join("data"));
    let list = until("its header", || {
        let list = daemon.get("/api/recordings").json();
        list["items"][0]["duration_s"].is_number().then_some(list)
    });
    let path = format!("/api/recordings/{}", list["items"][0]["recording_id"].as_str().expect("an id"));
    let before = memory(daemon.pid());
    let mut times: Vec<Duration> = (0..100_u64)
        .map(|n| {
            let from = n * 9_999_991;
            let range = format!("bytes={from}-{}", from + 65_535);
            let begun = Instant::now();
            let part = daemon.request("GET", &format!("{path}/audio"), &[("Range", &range)], b"");
            assert_eq!((part.status, part.body.len()), (206, 65_536));
            begun.elapsed()
        })
        .collect();
    times.sort();
    table.note(
        "1 GB WAV: a range of 64 KB somewhere in it, p50 / p95",
        format!("{:.1} / {:.1} ms", at(&times, 0.5), at(&times, 0.95)),
    );
    let cpu = cpu_s(daemon.pid());
    let begun = Instant::now();
    let first = daemon.get(&format!("{path}/waveform?points=1000"));
    let seen = begun.elapsed();
    let complete = first.status == 200 && first.json()["complete"] == true;
    table.goal(
        "1 GB WAV: first waveform (never computed before)",
        format!("{:.0} ms, {}", ms(seen), if complete { "exact" } else { "a first look" }),
        "< 1 s",
        first.status == 200 && seen < Duration::from_secs(1),
    );
    until("the exact waveform", || {
        let wave = daemon.get(&format!("{path}/waveform?points=1000"));
        (wave.status == 200 && wave.json()["complete"] == true).then_some(())
    });
    let (exact, cpu) = (begun.elapsed(), cpu_s(daemon.pid()) - cpu);
    table.note("1 GB WAV: the exact waveform", format!("{:.0} ms, {cpu:.2} s of processor time", ms(exact)));
    let begun = Instant::now();
    assert_eq!(daemon.get(&format!("{path}/waveform?points=1000")).status, 200);
    table.note("1 GB WAV: the stored waveform", format!("{:.1} ms", ms(begun.elapsed())));
    let now = memory(daemon.pid());
    let (text, anonymous) = more(before, now);
    table.goal("1 GB WAV: memory more after all that", text, "< 20 MB anonymous", anonymous < 20e6);
    let begun = Instant::now();
    let whole = daemon.get(&format!("{path}/audio"));
    assert_eq!(whole.body.len(), GIGABYTE as usize + 44);
    table.note(
        "1 GB WAV: all of it",
        format!("{:.0} MB/s", f64::from(GIGABYTE) / 1e6 / begun.elapsed().as_secs_f64()),
    );
}

/// What came: in words, and the anonymous bytes: the rest is the program itself.
fn more(before: (u64, u64, u64), now: (u64, u64, u64)) -> (String, f64) {
    let (resident, anonymous) =
        (now.0.saturating_sub(before.0) as f64, now.2.saturating_sub(before.2) as f64);
    (format!("{:.1} MB anonymous, {:.1} MB resident", anonymous / 1e6, resident / 1e6), anonymous)
}
