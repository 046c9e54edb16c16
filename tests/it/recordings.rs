//! Recordings: a real folder, the real binary, what others do to the files and what people do on the page.

use crate::harness::*;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A folder of recordings and a daemon that watches it.
struct Rig {
    daemon: Daemon,
    root: PathBuf,
    dir: tempfile::TempDir,
}

fn rig(more: &str) -> Rig {
    rig_with(more, |_| {})
}

/// The same with something in the folder before it starts.
fn rig_with(more: &str, before: impl FnOnce(&Path)) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rec");
    fs::create_dir(&root).unwrap();
    before(&root);
    let daemon = options(&root, more).start_in(&dir.path().join("data"));
    let rig = Rig { daemon, root, dir };
    rig.ready();
    rig
}

fn options(root: &Path, more: &str) -> Options {
    Options::default().config(&format!("[recordings]\nfolder = {root:?}\nstill_after = \"1s\"\n{more}\n"))
}

impl Rig {
    /// Waits until the folder has been read.
    fn ready(&self) {
        until("the folder to be read", || self.daemon.log().contains("read in").then_some(()));
    }

    fn again(&mut self, more: &str) {
        self.daemon.kill();
        self.daemon = options(&self.root, more).start_in(&self.dir.path().join("data"));
        self.ready();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn list(&self, query: &str) -> Value {
        let answer = self.daemon.get(&format!("/api/recordings?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The recording of this name, once it is listed and `check` holds.
    fn named(&self, name: &str, check: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{name} as expected"), || {
            let list = self.list("limit=1000");
            list["items"].as_array().unwrap().iter().find(|r| r["name"] == name && check(r)).cloned()
        })
    }

    fn id(&self, name: &str) -> String {
        self.named(name, |r| r["growing"] == false)["recording_id"].as_str().unwrap().to_string()
    }

    fn names(&self, query: &str) -> Vec<String> {
        let list = self.list(query);
        list["items"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_string()).collect()
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.daemon.request(method, &format!("/api/recordings/{path}"), &[], body.as_bytes())
    }

    fn patch(&self, id: &str, body: Value) -> Response {
        self.call("PATCH", id, body)
    }
}

/// Reads on to a change of a recording.
fn change(stream: &mut Stream, change: &str, name: &str) -> Value {
    until(&format!("{name} to be {change}"), || {
        let payload = stream.wait("recording_changed").payload();
        let fits = payload["change"] == change && payload["recording"]["name"] == name;
        fits.then_some(payload)
    })
}

fn header(length: u32) -> Vec<u8> {
    let mut header =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    header[4..8].copy_from_slice(&length.wrapping_add(36).to_le_bytes());
    header.extend(length.to_le_bytes());
    header
}

/// A WAV of 8 kHz, one channel, 16 bits, whose samples count up.
fn wav(samples: u32) -> Vec<u8> {
    let data = (0..samples).flat_map(|n| (n as i16).to_le_bytes());
    header(samples * 2).into_iter().chain(data).collect()
}

/// Written `days` ago.
fn old(path: &Path, bytes: &[u8], days: u64) {
    fs::write(path, bytes).unwrap();
    let at = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[test]
fn without_a_folder_there_are_none_and_the_key_is_named() {
    let daemon = Daemon::start();
    for path in ["", "/x", "/x/audio", "/x/waveform", "/archive.zip"] {
        let answer = daemon.get(&format!("/api/recordings{path}"));
        assert_eq!((answer.status, &answer.json()["type"]), (404, &"no_recordings".into()), "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("[recordings]"));
    }
}

#[test]
fn a_file_that_comes_grows_moves_and_goes_is_followed() {
    let rig = rig("");
    let mut stream = rig.daemon.stream("topics=recordings", None);
    stream.wait("hello");
    let mut file = File::create(rig.path("a.wav")).unwrap();
    file.write_all(&header(0)).unwrap();
    file.write_all(&[1; 16_000]).unwrap();
    let added = change(&mut stream, "added", "a.wav");
    let id = added["recording_id"].as_str().unwrap().to_string();
    file.write_all(&[1; 16_000]).unwrap();
    let growing = rig.named("a.wav", |r| r["duration_s"] == 2.0);
    assert_eq!(
        (&growing["growing"], &growing["sample_rate"], &growing["bits"]),
        (&true.into(), &8000.into(), &16.into())
    );
    drop(file);
    assert_eq!(change(&mut stream, "finished", "a.wav")["recording"]["growing"], false);

    fs::rename(rig.path("a.wav"), rig.path("b.wav")).unwrap();
    assert_eq!(change(&mut stream, "renamed", "b.wav")["recording_id"], *id);
    fs::create_dir(rig.path("2026-01-07")).unwrap();
    fs::rename(rig.path("b.wav"), rig.path("2026-01-07/b.wav")).unwrap();
    let moved = rig.named("b.wav", |r| r["path"] == "2026-01-07/b.wav");
    assert_eq!(moved["recording_id"], *id);

    // Another file takes its place in one step.
    fs::write(rig.path("new.part"), wav(4_000)).unwrap();
    fs::rename(rig.path("new.part"), rig.path("2026-01-07/b.wav")).unwrap();
    assert_eq!(rig.named("b.wav", |r| r["duration_s"] == 0.5)["recording_id"], *id);

    fs::remove_file(rig.path("2026-01-07/b.wav")).unwrap();
    let purged = change(&mut stream, "purged", "b.wav");
    assert_eq!(
        (&purged["recording_id"], &purged["reason"]),
        (&id.as_str().into(), &"deleted by others".into())
    );
    assert_eq!(rig.daemon.get(&format!("/api/recordings/{id}")).status, 404);
}

#[test]
fn what_is_half_there_or_no_recording_is_said_to_be_so() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.wav"), wav(10)).unwrap();
    let rig = rig_with("recorder = \"roof\"\nrepair = false", |root| {
        old(&root.join("half.wav"), &wav(8_000)[..44 + 4_000], 1);
        old(&root.join("never-ended.wav"), &[header(0), vec![3; 8_000]].concat(), 1);
        old(&root.join("text.wav"), b"this is no sound at all", 1);
        old(&root.join("x.opus"), b"OggS", 1);
        old(&root.join("notes.txt"), b"no recording", 1);
        std::os::unix::fs::symlink(outside.path().join("secret.wav"), root.join("link.wav")).unwrap();
        old(Path::new(std::ffi::OsStr::new(root.join("od\u{fffd}d.wav").to_str().unwrap())), &wav(8), 1);
    });
    let half = rig.named("half.wav", |r| !r["duration_s"].is_null());
    assert_eq!((&half["duration_s"], &half["recorder_id"]), (&0.25.into(), &"roof".into()));
    assert_eq!(rig.named("never-ended.wav", |r| !r["duration_s"].is_null())["duration_s"], 0.5);
    assert!(rig.named("text.wav", |r| r["error"].is_string())["duration_s"].is_null());
    let opus = rig.named("x.opus", |_| true);
    assert_eq!((&opus["playable"], &opus["duration_s"]), (&true.into(), &Value::Null));
    let answer =
        rig.daemon.get(&format!("/api/recordings/{}/waveform", opus["recording_id"].as_str().unwrap()));
    assert_eq!((answer.status, &answer.json()["type"]), (409, &"no_waveform".into()));
    assert_eq!(rig.names("text=link").len() + rig.names("text=notes").len(), 0);
    // What a browser gets of the one that was never ended is a file whose header is right.
    let id = rig.id("never-ended.wav");
    let audio = rig.daemon.get(&format!("/api/recordings/{id}/audio"));
    assert_eq!(audio.body, [header(8_000), vec![3; 8_000]].concat());
    let part =
        rig.daemon.request("GET", &format!("/api/recordings/{id}/audio"), &[("Range", "bytes=2-45")], b"");
    assert_eq!(part.body, audio.body[2..46]);
}

#[test]
fn the_bin_gives_back_what_it_took() {
    let rig = rig("");
    fs::create_dir(rig.path("day")).unwrap();
    fs::write(rig.path("day/a.wav"), wav(8_000)).unwrap();
    fs::write(rig.path("day/a.wav.json"), r#"{"triggers":["level"],"end_reason":"silence"}"#).unwrap();
    fs::write(rig.path("day/a.txt"), "an owl calls").unwrap();
    let id = rig.id("a.wav");
    assert_eq!(rig.named("a.wav", |r| r["end_reason"] == "silence")["triggers"], json!(["level"]));
    assert_eq!(rig.names("text=OWL"), ["a.wav"]);
    assert_eq!(rig.names("trigger=level&min_s=1&max_s=1"), ["a.wav"]);

    // Pinned it stays.
    assert_eq!(rig.patch(&id, json!({"pinned": true, "label": "Barn owl"})).json()["label"], "Barn owl");
    let refused = rig.call("DELETE", &id, Value::Null);
    assert_eq!((refused.status, &refused.json()["type"]), (409, &"pinned".into()));
    assert_eq!(rig.call("DELETE", &format!("{id}?purge=true"), Value::Null).json()["type"], "not_binned");
    rig.patch(&id, json!({"pinned": false}));

    let binned = rig.call("DELETE", &id, Value::Null);
    assert_eq!(binned.status, 200, "{}", binned.text());
    assert!(binned.json()["binned_at"].is_string());
    assert_eq!((rig.names(""), rig.names("bin=true")), (vec![], vec!["a.wav".to_string()]));
    let listed: Vec<_> = fs::read_dir(rig.path("day")).unwrap().collect();
    assert!(listed.is_empty(), "its sidecars went with it");
    assert_eq!(rig.list("")["summary"]["bin"]["count"], 1);
    // It can still be heard.
    assert_eq!(rig.daemon.get(&format!("/api/recordings/{id}/audio")).body, wav(8_000));

    // Something else has its name by now.
    fs::write(rig.path("day/a.wav"), wav(10)).unwrap();
    rig.id("a.wav");
    let restored = rig.patch(&id, json!({"restore": true})).json();
    assert_eq!(
        (&restored["name"], &restored["label"], &restored["end_reason"]),
        (&"a-2.wav".into(), &"Barn owl".into(), &"silence".into())
    );
    assert_eq!(rig.names("sort=name"), ["a-2.wav", "a.wav"]);

    rig.call("DELETE", &id, Value::Null);
    assert_eq!(rig.call("POST", "bin/empty", json!({})).status, 422);
    let purged = rig.call("DELETE", &format!("{id}?purge=true"), Value::Null).json();
    assert_eq!(purged, json!({"recording_id": id, "purged": true}));
    assert!(fs::read_dir(rig.path(".bin")).unwrap().next().is_none());
    let other = rig.id("a.wav");
    rig.call("DELETE", &other, Value::Null);
    assert_eq!(rig.call("POST", "bin/empty", json!({"confirm": true})).json()["purged"], 1);
    assert_eq!(rig.list("bin=true")["total"], 0);
}

#[test]
fn a_new_name_is_that_of_all_that_belongs_together() {
    let rig = rig("");
    for name in ["a.wav", "a.opus", "a.wav.json", "a.txt", "taken.wav"] {
        fs::write(rig.path(name), "x").unwrap();
    }
    let (wav_id, opus_id) = (rig.id("a.wav"), rig.id("a.opus"));
    assert_eq!(
        rig.named("a.wav", |_| true)["siblings"],
        json!([{"recording_id": opus_id, "extension": "opus"}])
    );
    for (body, status, code) in [
        (json!({"name": "taken"}), 409, "exists"),
        (json!({"name": "../up"}), 422, "bad_name"),
        (json!({"name": "b.wav", "if_name": "other.wav"}), 409, "changed"),
        (json!({"name": 7}), 400, "bad_field"),
    ] {
        let answer = rig.patch(&wav_id, body.clone());
        assert_eq!((answer.status, answer.json()["type"].as_str()), (status, Some(code)), "{body}");
    }
    let answer = rig.patch(&wav_id, json!({"name": "owl.wav", "if_name": "a.wav"}));
    assert_eq!((answer.status, &answer.json()["name"]), (200, &"owl.wav".into()));
    let mut names: Vec<_> =
        fs::read_dir(&rig.root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["owl.opus", "owl.txt", "owl.wav", "owl.wav.json", "taken.wav"]);
    assert_eq!((rig.id("owl.wav"), rig.id("owl.opus")), (wav_id, opus_id));
}

#[test]
fn a_thousand_are_read_page_by_page() {
    let rig = rig_with("", |root| {
        for n in 0..1_000 {
            old(&root.join(format!("{n:04}.wav")), &wav(8 + n % 7), 1 + u64::from(n % 5));
        }
    });
    until("all of them", || (rig.list("limit=1&min_s=0.0001")["total"] == 1_000).then_some(()));
    for sort in ["-started", "name", "-size", "length", "-updated"] {
        let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let page = rig.list(&format!("sort={sort}&limit=90{cursor}"));
            assert_eq!(page["total"], 1_000);
            seen.extend(page["items"].as_array().unwrap().iter().map(|r| r["name"].to_string()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((seen.len(), pages), (1_000, 12), "{sort}");
        if sort == "name" {
            assert!(seen.is_sorted());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1_000, "{sort}: none twice");
    }
    let page = rig.list("limit=1");
    assert_eq!(
        page["days"].as_array().unwrap().iter().map(|d| d["count"].as_u64().unwrap()).sum::<u64>(),
        1_000
    );
    assert_eq!(page["extensions"], json!(["wav"]));
    let day = page["days"][0]["day"].as_str().unwrap();
    assert_eq!(rig.list(&format!("day={day}&limit=1"))["total"], page["days"][0]["count"]);
    assert_eq!(rig.daemon.get("/api/recordings?sort=colour").status, 400);
    // Nothing was written about files that nobody touched.
    assert!(!rig.daemon.log().contains("more changes"));
}

#[test]
fn ranges_are_answered_as_browsers_need_them() {
    let bytes = wav(50_000);
    let rig = rig_with("", |root| old(&root.join("a.wav"), &bytes, 1));
    let path = format!("/api/recordings/{}/audio", rig.id("a.wav"));
    let whole = rig.daemon.get(&path);
    let (length, etag) = (bytes.len(), whole.header("etag").unwrap().to_string());
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    assert_eq!(
        (whole.header("accept-ranges"), whole.header("content-type")),
        (Some("bytes"), Some("audio/wav"))
    );
    let get = |headers: &[(&str, &str)]| rig.daemon.request("GET", &path, headers, b"");
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=99000-", 99_000, length),
        ("bytes=-44", length - 44, length),
        ("bytes=70000-99999999", 70_000, length),
        ("bytes=-99999999", 0, length),
    ] {
        let part = get(&[("Range", range)]);
        let expected = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!((part.status, part.header("content-range")), (206, Some(&*expected)), "{range}");
        assert_eq!(part.body, bytes[from..to], "{range}");
    }
    for range in ["bytes=0-1,5-6", "bytes=5-2", "seconds=1-2", "bytes=x"] {
        assert_eq!(get(&[("Range", range)]).status, 200, "{range}");
    }
    let outside = get(&[("Range", "bytes=999999-")]);
    assert_eq!((outside.status, outside.header("content-range")), (416, Some(&*format!("bytes */{length}"))));
    assert_eq!(get(&[("Range", "bytes=0-9"), ("If-Range", &etag)]).status, 206);
    assert_eq!(get(&[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]).status, 200);
    assert_eq!(get(&[("If-None-Match", &etag)]).status, 304);
    // HEAD: the length and nothing else, and the connection goes on.
    let mut socket = rig.daemon.connect();
    write!(socket, "HEAD {path} HTTP/1.1\r\nHost: x.local\r\nHost: {}\r\n\r\n", rig.daemon.addr).unwrap();
    drop(socket);
    let mut socket = rig.daemon.connect();
    write!(socket, "HEAD {path} HTTP/1.1\r\nHost: {0}\r\n\r\nGET {path} HTTP/1.1\r\nHost: {0}\r\nRange: bytes=0-3\r\n\r\n", rig.daemon.addr).unwrap();
    let mut reader = BufReader::new(socket);
    let head = Response::read_head(&mut reader);
    assert_eq!(head.header("content-length"), Some(&*length.to_string()));
    assert_eq!(Response::read(&mut reader).body, b"RIFF");
    let download = rig.daemon.get(&format!("{path}?download=true"));
    assert!(download.header("content-disposition").unwrap().starts_with("attachment; filename=\"a.wav\""));
}

#[test]
fn a_growing_recording_plays_as_far_as_it_is() {
    let rig = rig("");
    let mut file = File::create(rig.path("live.wav")).unwrap();
    file.write_all(&header(0)).unwrap();
    for seconds in 1..4_u32 {
        file.write_all(&[seconds as u8; 16_000]).unwrap();
        let live = rig.named("live.wav", |r| r["duration_s"] == f64::from(seconds));
        assert_eq!(live["growing"], true);
        let path = format!("/api/recordings/{}", live["recording_id"].as_str().unwrap());
        let audio = rig.daemon.get(&format!("{path}/audio"));
        assert_eq!(audio.body[..44], header(seconds * 16_000));
        assert_eq!(audio.body.len(), 44 + seconds as usize * 16_000);
        // A browser that kept the first second played it again and again: there is one tag for all of what grows.
        assert_eq!(audio.header("cache-control"), Some("no-store"));
        let tag = audio.header("etag").unwrap().to_string();
        assert_eq!(
            rig.daemon.request("GET", &format!("{path}/audio"), &[("If-None-Match", &tag)], b"").status,
            200
        );
        let wave = until("its waveform so far", || {
            let wave = rig.daemon.get(&format!("{path}/waveform?points=10"));
            (wave.status == 200 && wave.json()["complete"] == true).then(|| wave.json())
        });
        let newest = i64::from(seconds) * 257;
        assert_eq!((&wave["max"][9], &wave["growing"]), (&newest.into(), &true.into()));
    }
}

#[test]
fn a_waveform_is_computed_once_and_kept() {
    let mut samples = vec![0_i16; 2_000_000];
    samples[1_501_000] = 12_345;
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let bytes = [header(4_000_000), data].concat();
    let mut rig = rig_with("", |root| old(&root.join("a.wav"), &bytes, 1));
    let id = rig.id("a.wav");
    rig.named("a.wav", |r| r["duration_s"] == 250.0 && r["waveform"] == "none");
    let wave = |rig: &Rig, query: &str| {
        until("its waveform", || {
            let wave = rig.daemon.get(&format!("/api/recordings/{id}/waveform?{query}"));
            assert!(wave.status == 200 || wave.status == 202, "{}", wave.text());
            (wave.status == 200 && wave.json()["complete"] == true).then(|| wave.json())
        })
    };
    for rest in 0..2 {
        let drawn = wave(&rig, "points=1000");
        let max: Vec<i64> = serde_json::from_value(drawn["max"].clone()).unwrap();
        assert_eq!(
            max.iter().enumerate().filter(|(_, m)| **m != 0).collect::<Vec<_>>(),
            [(750, &12_345)],
            "{rest}"
        );
        assert_eq!(
            (&drawn["scale"], &drawn["points"], &drawn["sample_rate"]),
            (&32767.into(), &1000.into(), &8000.into())
        );
        // Closer than the stored blocks go.
        let near = wave(&rig, "points=100&from_s=187.625&until_s=187.626");
        assert_eq!(near["max"][0], 12_345);
        rig.named("a.wav", |r| r["waveform"] == "ready");
        rig.again("");
    }
    assert_eq!(fs::read_dir(rig.dir.path().join("data/peaks")).unwrap().count(), 1);
    for bad in ["points=9", "points=8193", "points=x", "from_s=-1", "width=3"] {
        assert_eq!(rig.daemon.get(&format!("/api/recordings/{id}/waveform?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn an_archive_opens_with_the_usual_tools() {
    let rig = rig("");
    for day in ["1", "2"] {
        fs::create_dir(rig.path(day)).unwrap();
        fs::write(rig.path(&format!("{day}/a.wav")), wav(100_000)).unwrap();
    }
    fs::write(rig.path("1/a.wav.json"), "{}").unwrap();
    fs::write(rig.path("Uhu \u{e4}.wav"), wav(3)).unwrap();
    until("three", || (rig.list("")["total"] == 3).then_some(()));
    let answer = rig.daemon.get("/api/recordings/archive.zip?sort=name");
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
    let zip = rig.dir.path().join("a.zip");
    fs::write(&zip, &answer.body).unwrap();
    let script = "import sys,zipfile,hashlib\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print('\\n'.join(sorted(f'{n} {len(z.read(n))}' for n in z.namelist())))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&zip)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "1/a.wav 200044\n1/a.wav.json 2\n2/a.wav 200044\nUhu \u{e4}.wav 50\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    // Some of them; to a client of HTTP/1.0; an unknown one.
    let id = rig.id("Uhu \u{e4}.wav");
    let mut socket = rig.daemon.connect();
    write!(socket, "GET /api/recordings/archive.zip?ids={id} HTTP/1.0\r\nHost: {}\r\n\r\n", rig.daemon.addr)
        .unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200") && memchr::memmem::find(&all, &wav(3)).is_some());
    assert_eq!(rig.daemon.get(&format!("/api/recordings/archive.zip?ids={id},x")).status, 404);
    assert_eq!(rig.daemon.get("/api/recordings/archive.zip?text=nothing").status, 404);
}

#[test]
fn a_clip_has_exactly_the_samples_and_can_be_undone() {
    let rig = rig("");
    let bytes = wav(80_000);
    fs::write(rig.path("a.wav"), &bytes).unwrap();
    fs::write(
        rig.path("a.wav.json"),
        r#"{"started_at":"2026-01-07T15:30:00.000Z","markers":[{"at_s":2.5,"kind":"trigger"},{"at_s":9,"kind":"release"}]}"#,
    )
    .unwrap();
    let id = rig.id("a.wav");
    rig.named("a.wav", |r| r["markers"][0]["at_s"] == 2.5);
    let clip =
        rig.call("POST", &format!("{id}/clip"), json!({"start_s": 2.0, "end_s": 3.25, "name": "call"}));
    assert_eq!(clip.status, 201, "{}", clip.text());
    let clip = clip.json();
    assert_eq!((&clip["name"], &clip["duration_s"]), (&"call.wav".into(), &1.25.into()));
    assert_eq!(
        (&clip["started_at"], &clip["markers"]),
        (
            &"2026-01-07T15:30:02.000Z".into(),
            &json!([{"at_s": 0.5, "until_s": null, "kind": "trigger", "label": null}])
        )
    );
    assert_eq!(
        fs::read(rig.path("call.wav")).unwrap(),
        [header(20_000), bytes[44 + 32_000..44 + 52_000].to_vec()].concat()
    );
    let origin: Value = serde_json::from_slice(&fs::read(rig.path("call.wav.json")).unwrap()).unwrap();
    assert_eq!(origin["origin"]["recording_id"], *id);

    for (body, status) in [
        (json!({"start_s": 3, "end_s": 3}), 422),
        (json!({"start_s": 20, "end_s": 30}), 422),
        (json!({"start_s": 1}), 400),
        (json!({"start_s": 0, "end_s": 1, "name": "call"}), 409),
        (json!({"start_s": 0, "end_s": 1, "name": "../x"}), 422),
    ] {
        assert_eq!(rig.call("POST", &format!("{id}/clip"), body.clone()).status, status, "{body}");
    }
    // In its place; the original waits in the bin, and comes back.
    let new =
        rig.call("POST", &format!("{id}/clip"), json!({"start_s": 0, "end_s": 1, "overwrite": true})).json();
    assert_eq!((&new["name"], &new["duration_s"]), (&"a.wav".into(), &1.0.into()));
    assert_ne!(new["recording_id"], *id);
    assert!(rig.daemon.get(&format!("/api/recordings/{id}")).json()["binned_at"].is_string());
    let restored = rig.patch(&id, json!({"restore": true})).json();
    assert_eq!((&restored["name"], &restored["duration_s"]), (&"a-2.wav".into(), &10.0.into()));
    assert_eq!(fs::read(rig.path("a-2.wav")).unwrap(), bytes);
    let left = fs::read_dir(&rig.root)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("telltale"));
    assert_eq!(left.count(), 0, "nothing half done is left");
}

#[test]
fn marks_survive_a_kill() {
    let mut rig = rig("");
    for name in ["pinned.wav", "renamed.wav", "binned.wav", "plain.wav"] {
        fs::write(rig.path(name), wav(100)).unwrap();
    }
    let ids = ["pinned.wav", "renamed.wav", "binned.wav", "plain.wav"].map(|name| rig.id(name));
    rig.patch(&ids[0], json!({"pinned": true, "label": "keep"}));
    rig.patch(&ids[1], json!({"name": "other"}));
    let binned = rig.call("DELETE", &ids[2], Value::Null).json();
    rig.daemon.kill();
    // Renamed while nobody looked.
    fs::rename(rig.path("pinned.wav"), rig.path("moved.wav")).unwrap();
    rig.again("");
    let moved = rig.named("moved.wav", |_| true);
    assert_eq!(
        (&moved["recording_id"], &moved["pinned"], &moved["label"]),
        (&ids[0].as_str().into(), &true.into(), &"keep".into())
    );
    assert_eq!((rig.id("other.wav"), rig.id("plain.wav")), (ids[1].clone(), ids[3].clone()));
    let again = rig.list("bin=true")["items"][0].clone();
    assert_eq!(
        (&again["recording_id"], &again["binned_at"]),
        (&ids[2].as_str().into(), &binned["binned_at"])
    );
    // A new file of the old name is another recording.
    fs::write(rig.path("renamed.wav"), wav(5)).unwrap();
    assert_ne!(rig.id("renamed.wav"), ids[1]);
}

#[test]
fn retention_takes_the_oldest_and_asks_before_it_takes_much() {
    let rig = rig_with("keep_bytes = \"1MiB\"\ninterval = \"1s\"", |root| {
        for n in 0..10 {
            old(&root.join(format!("{n}.wav")), &wav(60_000), 20 - n);
        }
    });
    // Ten of 120 kB are more than one of 1 MiB: the two oldest go.
    until("the oldest to go", || (rig.list("")["total"] == 8).then_some(()));
    assert!(!rig.path("0.wav").exists() && !rig.path("1.wav").exists() && rig.path("2.wav").exists());
    let logged = until("the line that says so", || {
        let log = rig.daemon.get("/api/events?since=earliest&topics=log").json();
        log["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["payload"]["message"].to_string())
            .find(|m| m.contains("removed"))
    });
    assert!(logged.contains("2 recordings were removed"), "{logged}");
    // Much more at once: it waits for somebody.
    rig.patch(&rig.id("2.wav"), json!({"pinned": true}));
    old(&rig.path("big.wav"), &wav(450_000), 0);
    let held =
        until("the purge to be held", || rig.list("")["summary"]["purge_held"].as_str().map(String::from));
    assert!(held.contains("7 of 8 recordings"), "{held}");
    assert_eq!(rig.list("")["total"], 9);
    let alerts = rig.daemon.get("/api/alerts").json();
    assert!(
        alerts["items"].as_array().unwrap().iter().any(|a| a["alert_id"] == "recordings.purge_held"),
        "{alerts}"
    );
    assert_eq!(rig.call("POST", "purge", json!({})).status, 422);
    let done = rig.call("POST", "purge", json!({"confirm": true})).json();
    assert_eq!(done["purged"], 7);
    assert!(rig.path("2.wav").exists(), "a pinned one is never taken");
    assert!(rig.path("big.wav").exists());
    until("the alert to clear", || {
        let alerts = rig.daemon.get("/api/alerts").json();
        let open = alerts["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|a| a["alert_id"] == "recordings.purge_held")
            .cloned();
        open.is_none_or(|a| a["state"] != "active").then_some(())
    });
    assert_eq!(rig.call("POST", "purge", json!({"confirm": true})).json()["type"], "nothing_held");
}

#[test]
fn nothing_goes_for_its_age_while_the_clock_is_in_doubt() {
    for (clock, left) in [("unsynced", 6), ("synced", 4)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rec");
        fs::create_dir(&root).unwrap();
        for n in 0..6 {
            old(&root.join(format!("{n}.wav")), &wav(100), if n < 2 { 40 } else { 1 });
        }
        let options = options(&root, "keep_age = \"30d\"\ninterval = \"1s\"\nkeep_bytes = \"1MiB\"");
        let daemon = options.env("TELLTALE_CLOCK", clock).start_in(&dir.path().join("data"));
        // A file that comes later is seen after retention has looked.
        fs::write(root.join("new.wav"), wav(10)).unwrap();
        until("retention to have looked", || {
            let list = daemon.get("/api/recordings").json();
            let items = list["items"].as_array().unwrap();
            let looked = items.iter().any(|r| r["name"] == "new.wav" && r["growing"] == false);
            (looked && list["total"] == left + 1).then_some(())
        });
    }
}

#[test]
fn a_folder_that_comes_later_is_taken_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("usb");
    let daemon = options(&root, "").start_in(&dir.path().join("data"));
    let status = |daemon: &Daemon| {
        let system = daemon.get("/api/system").json();
        let sources = system["sources"].as_array().unwrap().clone();
        sources.into_iter().find(|s| s["source_id"] == "recordings").map(|s| s["status"].clone())
    };
    until("the folder to be missed", || (status(&daemon) == Some("absent".into())).then_some(()));
    let list = daemon.get("/api/recordings");
    assert_eq!((list.status, &list.json()["total"]), (200, &0.into()));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.wav"), wav(100)).unwrap();
    until("the folder to be read", || (daemon.get("/api/recordings").json()["total"] == 1).then_some(()));
    until("the source to be well", || (status(&daemon) == Some("ok".into())).then_some(()));
    // Pulled out: nobody has deleted anything.
    let mut stream = daemon.stream("topics=recordings,system", None);
    stream.wait("hello");
    fs::rename(&root, dir.path().join("gone")).unwrap();
    until("the folder to be missed", || {
        let frame = stream.next().unwrap();
        assert_ne!(frame.event, "recording_changed", "{}", frame.data);
        (frame.event == "source_status" && frame.payload()["status"] == "absent").then_some(())
    });
}

#[test]
fn dropped_files_are_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let drop = dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    let rig = rig(&format!("drop_folder = {drop:?}\ndrop_after = \"1s\""));
    let mut stream = rig.daemon.stream("topics=job/*", None);
    stream.wait("hello");
    fs::write(drop.join("in.wav"), wav(1_000)).unwrap();
    fs::write(drop.join("in.wav.json"), r#"{"end_reason":"by hand"}"#).unwrap();
    fs::write(drop.join("other.doc"), "stays").unwrap();
    let job = until("the job to end", || {
        Some(stream.wait("job_status").payload()).filter(|job| job["status"] == "completed")
    });
    assert_eq!((&job["kind"], &job["source"]), (&"ingest".into(), &"dropbox".into()));
    assert_eq!(rig.named("in.wav", |r| r["duration_s"] == 0.125)["end_reason"], "by hand");
    let left: Vec<_> = fs::read_dir(&drop).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["other.doc"]);
}

#[test]
fn what_a_crash_left_gets_its_header_right() {
    let broken = [header(0), vec![7; 5_001]].concat();
    let right = [header(5_000), vec![7; 5_001]].concat();
    let rig = rig_with("", |root| old(&root.join("a.wav"), &broken, 2));
    let before = fs::metadata(rig.path("a.wav")).unwrap().modified().unwrap();
    until("its header", || (fs::read(rig.path("a.wav")).unwrap()[..44] == right[..44]).then_some(()));
    assert_eq!(fs::read(rig.path("a.wav")).unwrap(), right, "no sample is touched");
    let job = until("the job to end", || {
        let jobs = rig.daemon.get("/api/jobs").json();
        jobs["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|j| j["kind"] == "recover" && j["status"] == "completed")
            .cloned()
    });
    assert_eq!(job["source"], "recovery");
    assert_eq!(
        fs::metadata(rig.path("a.wav")).unwrap().modified().unwrap(),
        before,
        "it was not recorded just now"
    );
    assert_eq!(rig.id("a.wav"), rig.list("")["items"][0]["recording_id"]);
}

#[test]
fn the_bench_leaves_real_recordings() {
    let daemon = Daemon::bench();
    let added = until("a recording of the bench", || {
        let list = daemon.get("/api/recordings").json();
        let first = list["items"][0].clone();
        (first["duration_s"].as_f64().unwrap_or(0.0) >= 1.0).then_some(first)
    });
    assert_eq!((&added["sample_rate"], &added["recorder_id"]), (&8000.into(), &"rec1".into()));
    let path = format!("/api/recordings/{}", added["recording_id"].as_str().unwrap());
    let audio = daemon.get(&format!("{path}/audio"));
    assert_eq!((&audio.body[..4], audio.body.len() % 2), (&b"RIFF"[..], 0));
    let wave = until("its waveform", || {
        let wave = daemon.get(&format!("{path}/waveform?points=20"));
        (wave.status == 200).then(|| wave.json())
    });
    assert!(wave["max"].as_array().unwrap().iter().any(|m| m.as_i64().unwrap() > 0), "{wave}");
}

#[test]
fn acting_needs_a_role_and_our_own_origin() {
    let rig = rig_with("", |root| old(&root.join("a.wav"), &wav(10), 1));
    let id = rig.id("a.wav");
    let foreign = [("Origin", "http://evil.example"), ("Content-Type", "application/json")];
    for (method, path) in [("DELETE", id.clone()), ("PATCH", id.clone()), ("POST", "bin/empty".into())] {
        let answer = rig.daemon.request(method, &format!("/api/recordings/{path}"), &foreign, b"{}");
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    assert!(rig.path("a.wav").exists());
}
