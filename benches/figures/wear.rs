//! What storing costs the card: bytes written for each event, commits, and nothing at all when nothing changes.

use crate::Table;
use crate::footprint::metric;
use crate::harness::{Daemon, Options, until};
use crate::process::{size, written};
use crate::publisher::Publisher;
use std::time::Duration;

/// Time of each rate.
const TIME: Duration = Duration::from_secs(20);

/// See the module above.
pub fn bytes_per_event(table: &mut Table) {
    // On the file system of the build, not on a /tmp that may live in memory and write nothing.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let daemon = Options::default().start_in(&dir.path().join("data"));
    let mut publisher = Publisher::new(daemon.addr, 100);
    publisher.post(100, true);
    for (rate, batch) in [(1.0, 1), (10.0, 1), (100.0, 1), (1_000.0, 10)] {
        let commits = || metric(&daemon, "telltale_commits_total");
        let (bytes, grown, before) = (written(daemon.pid()), size(&daemon.data), commits());
        let events = publisher.pace(batch, rate / batch as f64, TIME);
        until("the last commit", || {
            (metric(&daemon, "telltale_events_stored_total") as u64 >= publisher.next).then_some(())
        });
        let each = (written(daemon.pid()) - bytes) as f64 / events as f64;
        let grown = size(&daemon.data).saturating_sub(grown) as f64 / events as f64;
        let per_s = (commits() - before) / TIME.as_secs_f64();
        let name = |what: &str| format!("{what} at {rate} events/s");
        table.note(&name("bytes written per event"), format!("{each:.0} (the files grew by {grown:.0})"));
        // The last commit may fall just outside.
        table.goal(&name("commits"), format!("{per_s:.2} a second"), "<= 1 a second", per_s <= 1.1);
    }
    // The box's own health changes all the time, so "nothing" needs a daemon that does not look at it. What looking
    // costs is the next figure.
    let idle = |daemon: &Daemon| {
        std::thread::sleep(Duration::from_secs(8));
        let bytes = written(daemon.pid());
        std::thread::sleep(Duration::from_secs(30));
        written(daemon.pid()) - bytes
    };
    drop(publisher);
    drop(daemon);
    // What changed at the start is committed within a second here, rather than in the middle of the measurement.
    let quiet = "[host]\ninterval = \"1h\"\n[store]\nstate_commit = \"1s\"\n";
    let still = Options::default().config(quiet).start_in(&dir.path().join("data"));
    let bytes = idle(&still);
    table.goal("bytes written in 30 s when nothing changes", bytes.to_string(), "0", bytes == 0);
    drop(still);
    let usual = Options::default().start_in(&dir.path().join("data"));
    let per_day = idle(&usual) as f64 / 30.0 * 86_400.0 / 1e6;
    table.note(
        "bytes written a day by a daemon without sources, but for the health of the box",
        format!("{per_day:.0} MB"),
    );
}
