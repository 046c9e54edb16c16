//! Everything at once for a while: the simulated bench with its queue of scans and its signals, a feed at 200 ticks a second that
//! loses its connection now and then, ten viewers that come and go, a second queue that loops. Is memory the same at the end?

use crate::Table;
use crate::footprint::metric;
use crate::harness::{Daemon, Options, until};
use crate::process::{cpu_s, memory, size, written};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tungstenite::Message;

/// Ticks a second of the feed.
const RATE: u32 = 200;
/// Viewers at a time.
const VIEWERS: u64 = 10;
/// The goal: resident memory at any time against that after the first minute.
const MORE: u64 = 100_000_000;

/// Takes connections one after the other and gives each numbered ticks; ends a connection after half a minute.
fn exchange(listener: TcpListener, sent: Arc<AtomicU64>, over: Arc<AtomicBool>) -> JoinHandle<()> {
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        let mut taken = 0u32;
        while !over.load(Ordering::Relaxed) {
            let Ok((socket, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            socket.set_nonblocking(false).expect("a socket");
            socket.set_nodelay(true).expect("a socket");
            let Ok(mut socket) = tungstenite::accept(socket) else { continue };
            let _ = socket.read();
            let begun = Instant::now();
            for n in 1..=RATE * 30 {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
                let text = format!("{{\"p\":{}.5,\"T\":{now}}}", n % 1_000);
                if over.load(Ordering::Relaxed) || socket.send(Message::text(text)).is_err() {
                    break;
                }
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep((Duration::from_secs(1) * n / RATE).saturating_sub(begun.elapsed()));
            }
            // Every other time without a word.
            taken += 1;
            if taken.is_multiple_of(2) {
                let _ = socket.close(None);
                let _ = socket.flush();
            }
        }
    })
}

/// Follows everything for ten to forty seconds, leaves without a word, and comes back with where it was.
fn viewer(
    number: u64,
    addr: SocketAddr,
    bytes: Arc<AtomicU64>,
    visits: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut last_id = String::new();
        for visit in 0u64.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(mut socket) = TcpStream::connect(addr) else { continue };
            let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
            let resume =
                if last_id.is_empty() { String::new() } else { format!("Last-Event-ID: {last_id}\r\n") };
            let head = format!(
                "GET /api/events?topics=* HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{resume}\r\n"
            );
            if socket.write_all(head.as_bytes()).is_err() {
                continue;
            }
            visits.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let stay = Duration::from_secs(10 + (number * 7 + visit * 13) % 31);
            while begun.elapsed() < stay && !over.load(Ordering::Relaxed) {
                match socket.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        bytes.fetch_add(n as u64, Ordering::Relaxed);
                        let text = String::from_utf8_lossy(&buffer[..n]);
                        // The last whole line that names one.
                        let ids = text.rsplit('\n').skip(1).find_map(|line| line.strip_prefix("id: "));
                        if let Some(id) = ids {
                            last_id = id.trim().to_string();
                        }
                    }
                    Err(_) => {}
                }
            }
        }
    })
}

/// A queue that adds its scan anew whenever it has completed: twenty points of what is measured without being moved. A point whose
/// answer is late is left out: nobody is there to resume.
fn queue(daemon: &Daemon) {
    let made = daemon
        .post("/api/queues", r#"{"queue_id":"soak","loop":true,"autostart":true,"on_failure":"continue"}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    until("the stage to be offered", || {
        let scan = r#"{"name":"stage","count":20,"interval_s":0.25,"measure":["stage.x","stage.y"],"on_error":"skip_point"}"#;
        let added = daemon.post("/api/queues/soak/scans", scan);
        (added.status == 201).then_some(()).or_else(|| {
            eprintln!("{}", added.text());
            None
        })
    });
}

/// Runs for so many minutes.
pub fn soak(table: &mut Table, minutes: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // As without a file, and the feed.
    let config = format!(
        "bench = true\n[signals]\ngenerate = [\"alpha\", \"beta\", \"gamma\", \"delta\"]\nlive = true\n\
         [[stream]]\nid = \"feed\"\nurl = \"ws://{}/\"\nsubscribe = [\"go\"]\nvalue = \"p\"\ntime = \"T\"\nmode = \"all\"\n",
        listener.local_addr().expect("a port")
    );
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut threads = vec![exchange(listener, Arc::clone(&sent), Arc::clone(&over))];
    let data = dir.path().join("data");
    let mut daemon = Options::default().config(&config).start_in(&data);
    let (bytes, visits) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for number in 0..VIEWERS {
        threads.push(viewer(number, daemon.addr, Arc::clone(&bytes), Arc::clone(&visits), Arc::clone(&over)));
    }
    queue(&daemon);
    let begun = Instant::now();
    let (mut first, mut most, mut last) = ((0, 0), 0, (0, 0));
    let (mut threads_first, mut threads_last) = (0, 0);
    let mb = |bytes: u64| bytes as f64 / 1e6;
    eprintln!("  minute  resident  anonymous MB  threads  events  file MB  reconnects  visits");
    for minute in 1..=minutes {
        std::thread::sleep(Duration::from_secs(60 * minute).saturating_sub(begun.elapsed()));
        let (rss, _, anonymous) = memory(daemon.pid());
        let feed = daemon.get("/api/streams/feed").json();
        let head = metric(&daemon, "telltale_events_total");
        eprintln!(
            "  {minute:6}  {:8.1}  {:12.1}  {:7}  {head:6.0}  {:7.1}  {:10}  {:6}",
            mb(rss),
            mb(anonymous),
            daemon.threads(),
            mb(size(&data)),
            feed["reconnects"],
            visits.load(Ordering::Relaxed)
        );
        (last, threads_last) = ((rss, anonymous), daemon.threads());
        most = most.max(rss);
        if minute == 1 {
            (first, threads_first) = (last, threads_last);
        }
    }
    // The last ticks are counted within the time that the counts are said in.
    let counted = daemon.get("/api/streams/feed").json();
    let took = begun.elapsed().as_secs_f64();
    let text = format!(
        "{:.1} MB after a minute, {:.1} after {minutes}, {:.1} at most ({:.1} and {:.1} anonymous)",
        mb(first.0),
        mb(last.0),
        mb(most),
        mb(first.1),
        mb(last.1)
    );
    table.goal("soak: resident memory", text, "at most 100 MB more", most <= first.0 + MORE);
    let text = format!("{threads_first} after a minute, {threads_last} after {minutes}");
    // A viewer more or less may be connecting at the moment.
    table.goal("soak: threads", text, "no more than 4 more", threads_last <= threads_first + 4);
    let events = metric(&daemon, "telltale_events_total");
    table.note("soak: events", format!("{events:.0}, {:.0} a second", events / took));
    table.note(
        "soak: ticks of the feed sent, counted, dropped; its reconnects",
        format!(
            "{}, {}, {}; {}",
            sent.load(Ordering::Relaxed),
            counted["ticks"],
            counted["dropped"],
            counted["reconnects"]
        ),
    );
    table.note(
        "soak: visits of ten viewers, bytes they got",
        format!("{}, {:.0} MB", visits.load(Ordering::Relaxed), mb(bytes.load(Ordering::Relaxed))),
    );
    let scans = daemon.get("/api/scans?queue_id=soak&limit=1").json();
    table.note("soak: scans of the queue that loops", scans["total"].to_string());
    table.note(
        "soak: size of the data folder, bytes written",
        format!("{:.0} MB, {:.0} MB", mb(size(&data)), mb(written(daemon.pid()))),
    );
    table.note("soak: processor time", format!("{:.1} % of a core", 100.0 * cpu_s(daemon.pid()) / took));
    let log = daemon.log();
    let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    // On a machine that is busy with other things the simulated instruments answer late now and then.
    table.note("soak: errors in the log", count("ERROR").to_string());
    table.goal("soak: panics", count("panicked").to_string(), "0", count("panicked") == 0);
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    let began = Instant::now();
    let code = daemon.stop();
    let text = format!("code {code} after {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    table.goal("soak: orderly stop", text, "code 0", code == 0);
}
