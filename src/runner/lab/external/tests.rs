//! What programs say and hear, on a bus and a store of their own.

use super::super::lease::Lease;
use super::*;
use crate::bus::{Bus, Commands, Start, Submitted};
use crate::model::QualityReason;
use crate::sources::{Instruments, Outlets, Recorders};
use crate::store::Store;
use crossbeam::channel::{Receiver, bounded};

/// The scans of programs, on a bus and a store of their own.
struct World {
    external: External,
    context: Context,
    inbox: Receiver<Command>,
    writer: Option<std::thread::JoinHandle<()>>,
    dir: Option<tempfile::TempDir>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.context.bus.stop();
        self.writer.take().into_iter().for_each(crate::threads::join);
    }
}

impl World {
    fn new() -> World {
        World::over(tempfile::tempdir().unwrap(), 10)
    }

    fn over(dir: tempfile::TempDir, keep: usize) -> World {
        let mut world = World::uncommitted(dir, keep);
        let (bus, store) = (Arc::clone(&world.context.bus), Arc::clone(&world.context.store));
        world.writer = Some(crate::store::start_writer(bus, store, Arc::default()).unwrap());
        world
    }

    /// Nobody writes the log but [`World::commit`].
    fn uncommitted(dir: tempfile::TempDir, keep: usize) -> World {
        let opened = Store::open(dir.path(), &crate::config::Store::default()).unwrap();
        let store = Arc::new(opened.store);
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default()));
        let commands = Arc::new(Commands::new(Arc::clone(&bus)));
        let outlets = Arc::new(Outlets::default());
        let alerts = Arc::new(crate::alerts::Alerts::new(Arc::clone(&bus)));
        let recordings = crate::sources::recordings::Recordings::new(
            Arc::clone(&bus),
            Arc::clone(&store),
            Arc::clone(&alerts),
            dir.path().to_path_buf(),
        );
        let context = Context {
            bus: Arc::clone(&bus),
            commands: Arc::clone(&commands),
            store: Arc::clone(&store),
            alerts,
            recorders: Arc::new(Recorders::new(
                Arc::clone(&bus),
                Arc::clone(&commands),
                Arc::clone(&outlets),
            )),
            recordings: Arc::new(recordings),
            outlets,
            instruments: Arc::new(Instruments::default()),
            stop: crate::threads::Stop::default(),
        };
        let book = Arc::new(Book::open(Arc::clone(&context.bus), store).unwrap());
        let (to, inbox) = bounded(16);
        let external = External::open(&context, &book, to, keep).unwrap();
        World { external, context, inbox, writer: None, dir: Some(dir) }
    }

    /// The daemon ends without a word and comes up again on the same shelf.
    fn again(mut self) -> World {
        let dir = self.dir.take().unwrap();
        drop(self);
        World::over(dir, 10)
    }

    fn commit(&self) {
        let bus = &self.context.bus;
        let batch = bus.next_batch(Duration::ZERO, Duration::ZERO).unwrap();
        let through = batch.through.seq;
        self.context.store.commit(&batch, false).unwrap();
        bus.committed_through(through);
    }

    fn register(&self, id: &str) -> Registered {
        self.wish(NewExternal { scan_id: Some(id.into()), points_total: Some(10), ..NewExternal::default() })
    }

    fn wish(&self, wish: NewExternal) -> Registered {
        self.external.register(wish, || Ok("SCAN_001".into()), |_| false).unwrap()
    }

    fn rows(from: u64, to: u64) -> Vec<(String, Vec<Row>)> {
        let row = |n: u64| Row {
            sequence_index: Some(n),
            data: [("T".to_string(), json!(n))].into(),
            t_rel: None,
            timestamp: Wall(5),
            quality: BTreeMap::new(),
            late_ms: None,
        };
        vec![("main".into(), (from..to).map(row).collect())]
    }

    fn post(&self, id: &str, from: u64, to: u64) -> Result<Posted, LabError> {
        self.external.post(id, World::rows(from, to), Wall(5))
    }

    /// A command through the desk; gives its id.
    fn ask(&self, id: &str, action: &str, params: Value) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("c-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let Value::Object(params) = params else { panic!() };
        let submitted = self.context.commands.submit(Command {
            id: name.clone(),
            target: format!("scan/{id}"),
            action: action.into(),
            params,
            by: Some("Ada".into()),
            reason: None,
        });
        assert!(matches!(submitted, Submitted::Accepted(_)), "{submitted:?}");
        assert!(self.external.command(&self.inbox.try_recv().unwrap()));
        name
    }

    fn outcome(&self, command: &str) -> CommandState {
        self.context.commands.lookup(command).unwrap().state
    }

    fn told(&self, id: &str) -> ScanStatus {
        let event = self.context.bus.state_of(&format!("scan_status/{id}")).unwrap();
        serde_json::from_str(event.payload()).unwrap()
    }

    fn say(&self, id: &str, state: ScanState) -> Control {
        self.external.report(id, state, None, None).unwrap().1
    }

    /// As if so much time had gone by without a word.
    fn silence(&self, id: &str, time: Duration) {
        let entry = self.external.find(id).unwrap();
        let mut one = entry.lock();
        let mut kept = one.kept.clone();
        kept.times.at = kept.times.at.map(|at| at.saturating_sub(time));
        one.kept = kept;
        let (lease, ack) = (Duration::from_secs_f64(one.kept.lease_s), one.ack());
        let asked = one.kept.machine.pending().is_some();
        let was_silent = one.lease.is_silent();
        let began = monotonic().checked_sub(time).expect("this host has been up for longer");
        one.lease = Lease::new(lease, ack, began);
        if was_silent {
            one.lease.tick(began + lease + Duration::from_millis(1));
        }
        if asked {
            one.lease.ask(began);
        }
        drop(one);
        self.external.tick();
    }

    fn alerts(&self) -> Vec<(String, String)> {
        let snapshot = self.context.bus.snapshot(&crate::model::TopicFilter::parse("alerts").unwrap());
        let alert = |e: &crate::model::SharedEvent| {
            let alert: Value = serde_json::from_str(e.payload()).unwrap();
            (alert["alert_id"].as_str().unwrap().to_string(), alert["state"].as_str().unwrap().to_string())
        };
        snapshot.state.iter().map(alert).collect()
    }
}

use CommandState::{Completed, Failed, Rejected, Superseded, TimedOut};

#[test]
fn a_status_changes_when_the_program_says_so() {
    let world = World::new();
    assert!(world.register("s").is_new);
    assert_eq!(world.told("s").status, ScanState::Running);
    world.post("s", 0, 3).unwrap();

    let pause = world.ask("s", "pause", json!({}));
    let told = world.told("s");
    assert_eq!((told.status, told.pending.as_deref()), (ScanState::Running, Some("pause")));
    let again = world.ask("s", "pause", json!({}));
    let control = world.post("s", 3, 4).unwrap().control;
    assert_eq!((control.pending, control.command_id.as_deref()), (Some("pause"), Some(again.as_str())));
    assert_eq!(world.outcome(&pause), CommandState::Accepted, "nothing has happened yet");
    assert_eq!(world.say("s", ScanState::Paused).pending, None);
    assert_eq!((world.outcome(&pause), world.outcome(&again)), (Completed, Completed));
    assert_eq!(world.told("s").status, ScanState::Paused);

    let resume = world.ask("s", "resume", json!({}));
    let taken_back = world.ask("s", "pause", json!({}));
    assert_eq!((world.outcome(&resume), world.outcome(&taken_back)), (Superseded, Completed));
    assert_eq!(world.external.control("s").unwrap().pending, None);
    world.ask("s", "resume", json!({}));
    world.say("s", ScanState::Running);

    let stop = world.ask("s", "stop", json!({}));
    let abort = world.ask("s", "abort", json!({}));
    assert_eq!(world.outcome(&stop), Superseded);
    let pause = world.ask("s", "pause", json!({}));
    assert_eq!(world.outcome(&pause), Rejected);
    // It was through before it heard of the abort.
    world.post("s", 4, 10).unwrap();
    assert_eq!(world.say("s", ScanState::Completed).pending, None);
    assert_eq!(world.outcome(&abort), Failed);
    let told = world.told("s");
    assert_eq!(
        (told.progress, told.points_done, told.exit_reason.as_deref()),
        (Some(1.0), Some(10), Some("finished"))
    );
    assert_eq!(told.num_points["main"], 10);
    // The answer was lost: it says so once more. Something else it can't become.
    world.say("s", ScanState::Completed);
    let other = world.external.report("s", ScanState::Aborted, None, None).unwrap_err();
    assert!(matches!(other, LabError::Conflict(c) if c.code == "ended"));
    assert!(matches!(world.post("s", 10, 11).unwrap_err(), LabError::Conflict(c) if c.code == "ended"));
}

#[test]
fn progress_stays_where_it_was_when_it_is_aborted() {
    let world = World::new();
    world.register("s");
    world.post("s", 0, 4).unwrap();
    let abort = world.ask("s", "abort", json!({}));
    world.say("s", ScanState::Aborted);
    assert_eq!(world.outcome(&abort), Completed);
    let told = world.told("s");
    assert_eq!((told.progress, told.exit_reason.as_deref()), (Some(0.4), Some("user_abort")));
}

#[test]
fn rows_come_once_and_without_a_gap() {
    let world = World::new();
    world.register("s");
    let code = |e: LabError| match e {
        LabError::Conflict(conflict) => (conflict.code, conflict.more),
        other => panic!("{other:?}"),
    };
    assert_eq!(world.post("s", 0, 5).unwrap().accepted, 5);
    let again = world.post("s", 3, 6).unwrap();
    assert_eq!((again.accepted, again.duplicates, again.last_index), (1, 2, Some(5)));
    let (what, more) = code(world.post("s", 8, 9).unwrap_err());
    assert_eq!((what, &more["expected"], &more["last_index"]), ("gap", &json!(6), &json!(5)));
    let mut other = World::rows(2, 3);
    other[0].1[0].data.insert("T".into(), json!(99));
    assert_eq!(code(world.external.post("s", other, Wall(5)).unwrap_err()).0, "conflict");
    assert!(matches!(world.post("unknown", 0, 1).unwrap_err(), LabError::Unknown(_)));
    let again = world.register("s");
    assert_eq!(
        (again.is_new, again.last_index["main"]),
        (false, 5),
        "a program that was started anew goes on"
    );
}

/// One row with a number far ahead held the lock of its scan for years, and the thread of the lab with it.
#[test]
fn a_row_that_is_refused_counts_nothing() {
    let world = World::new();
    world.register("s");
    for far in [8, 1 << 40, u64::MAX / 2 - 1] {
        world.post("s", 0, 2).unwrap();
        let begun = Instant::now();
        let refused = world.post("s", far, far + 1);
        assert!(matches!(&refused, Err(LabError::Conflict(c)) if c.code == "gap"), "{refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let now = world.external.find("s").unwrap().lock().status(monotonic());
        assert_eq!((now.progress, now.points_done), (Some(0.2), Some(2)), "{far}");
    }
    // The clean-up of the desk does not wait for a scan that is busy.
    let entry = world.external.find("s").unwrap();
    let busy = entry.lock();
    world.external.drop_oldest();
    drop(busy);
}

#[test]
fn silence_is_told_and_at_last_ends_the_scan() {
    let world = World::new();
    world.register("s");
    world.post("s", 0, 2).unwrap();
    world.silence("s", Duration::from_secs(29));
    assert!(world.alerts().is_empty());
    world.silence("s", Duration::from_secs(31));
    assert_eq!(world.alerts(), [("scan.s.silent".to_string(), "active".to_string())]);
    let told = world.told("s");
    assert_eq!((told.status, told.more.quality_reason), (ScanState::Running, Some(QualityReason::Stale)));
    world.external.control("s").unwrap();
    assert_ne!(world.alerts(), [("scan.s.silent".to_string(), "active".to_string())], "it is heard again");
    let pause = world.ask("s", "pause", json!({}));
    world.silence("s", Duration::from_secs(301));
    let told = world.told("s");
    assert_eq!((told.status, told.exit_reason.as_deref()), (ScanState::Failed, Some("publisher_lost")));
    assert_eq!(world.outcome(&pause), TimedOut);
    assert_eq!(told.progress, Some(0.2));
    // One that comes back is told to stop what it does, and what it says then is taken.
    let LabError::Conflict(conflict) = world.post("s", 2, 3).unwrap_err() else { panic!() };
    assert_eq!((conflict.code, &conflict.more["control"]["pending"]), ("ended", &json!("abort")));
    assert_eq!(world.external.control("s").unwrap().pending, Some("abort"));
    assert_eq!(world.say("s", ScanState::Aborted).pending, None);
    assert_eq!(world.told("s").status, ScanState::Failed, "that does not change how it ended");
}

#[test]
fn who_does_not_confirm_is_told_of_and_still_wanted_to() {
    let world = World::new();
    let ack = Some(Duration::from_secs(20));
    world.wish(NewExternal { scan_id: Some("s".into()), ack, ..NewExternal::default() });
    let abort = world.ask("s", "abort", json!({}));
    world.silence("s", Duration::from_secs(25));
    assert_eq!(world.outcome(&abort), TimedOut);
    let told = world.told("s");
    assert_eq!((told.status, told.pending.as_deref()), (ScanState::Running, Some("abort")));
    assert_eq!(told.message.as_deref(), Some("the bench program did not confirm abort"));
    assert!(world.alerts().iter().any(|(id, _)| id == "scan.s.abort"));
    // Once more with force ends it here; the program still has to clean up.
    let forced = world.ask("s", "abort", json!({ "force": true }));
    assert_eq!((world.outcome(&forced), world.told("s").status), (Completed, ScanState::Aborted));
    assert_eq!(world.external.control("s").unwrap().pending, Some("abort"));
    let open = |id: &str| world.alerts().iter().any(|(of, state)| of == id && state == "active");
    assert!(open("scan.s.abort"), "ended by force: somebody still has to look");
    world.say("s", ScanState::Aborted);
    assert_eq!(world.external.control("s").unwrap().pending, None);
    assert!(!open("scan.s.abort"), "{:?}", world.alerts());
}

#[test]
fn a_forced_end_whose_program_never_comes_back_is_over_with_the_scan() {
    let world = World::new();
    let ack = Some(Duration::from_secs(20));
    world.wish(NewExternal { scan_id: Some("s".into()), ack, ..NewExternal::default() });
    world.ask("s", "abort", json!({}));
    world.silence("s", Duration::from_secs(25));
    world.ask("s", "abort", json!({ "force": true }));
    world.external.remove("s").unwrap();
    let alerts = world.alerts();
    assert!(!alerts.iter().any(|(id, state)| id == "scan.s.abort" && state == "active"), "{alerts:?}");
}

#[test]
fn one_that_waits_begins_when_somebody_starts_it() {
    let world = World::new();
    let wish = || NewExternal { waits: true, ..NewExternal::default() };
    assert_eq!(world.wish(wish()).status.scan_id, "SCAN_001");
    assert!(
        matches!(world.post("SCAN_001", 0, 1).unwrap_err(), LabError::Conflict(c) if c.code == "not_started")
    );
    // It may be silent as long as nobody wants anything.
    world.silence("SCAN_001", Duration::from_secs(1_000));
    assert!(world.alerts().is_empty());
    let start = world.ask("SCAN_001", "start", json!({}));
    assert_eq!(world.external.control("SCAN_001").unwrap().pending, Some("start"));
    world.say("SCAN_001", ScanState::Running);
    assert_eq!(world.outcome(&start), Completed);
    world.post("SCAN_001", 0, 1).unwrap();

    // No answer to a start: it has failed.
    world.wish(NewExternal { scan_id: Some("dead".into()), ..wish() });
    let start = world.ask("dead", "start", json!({}));
    world.silence("dead", Duration::from_secs(30));
    assert_eq!((world.outcome(&start), world.told("dead").status), (TimedOut, ScanState::Failed));

    // Aborted before it began.
    world.wish(NewExternal { scan_id: Some("never".into()), ..wish() });
    let abort = world.ask("never", "abort", json!({}));
    assert_eq!((world.outcome(&abort), world.told("never").status), (Completed, ScanState::Aborted));
    assert_eq!(world.external.control("never").unwrap().pending, Some("abort"));
}

#[test]
fn a_restart_leaves_it_as_it_was_with_a_fresh_lease() {
    let world = World::new();
    world.register("runs");
    world.register("stands");
    world.say("stands", ScanState::Paused);
    world.register("ended");
    world.say("ended", ScanState::Completed);
    world.register("wanted");
    world.ask("wanted", "abort", json!({}));
    world.external.tick();
    let world = world.again();
    assert_eq!(world.told("runs").status, ScanState::Running);
    assert_eq!(world.told("runs").more.quality_reason, Some(QualityReason::Initial));
    assert_eq!(world.told("stands").status, ScanState::Paused);
    assert_eq!(world.external.detail("ended").unwrap().status.status, ScanState::Completed);
    assert_eq!(
        world.external.control("wanted").unwrap().pending,
        Some("abort"),
        "what is wanted stays wanted"
    );
    world.silence("runs", Duration::from_secs(29));
    assert!(world.alerts().is_empty());
    world.post("runs", 0, 1).unwrap();
    world.ask("runs", "pause", json!({}));
}

#[test]
fn an_end_is_not_on_the_disk_before_its_rows() {
    let world = World::uncommitted(tempfile::tempdir().unwrap(), 10);
    let has_ended = || {
        let rows = world.context.store.shelf(SHELF).unwrap();
        serde_json::from_slice::<Kept>(&rows[0].1).unwrap().machine.is_ended()
    };
    world.register("s");
    world.post("s", 0, 3).unwrap();
    world.ask("s", "abort", json!({}));
    world.ask("s", "abort", json!({ "force": true }));
    assert_eq!(world.told("s").status, ScanState::Aborted);
    world.external.tick();
    assert!(!has_ended(), "a kill now would leave an end without its last rows");
    world.commit();
    world.external.tick();
    assert!(has_ended());
}

#[test]
fn a_sign_of_life_is_not_written_down() {
    let world = World::new();
    world.register("s");
    let revision = world.told("s").revision;
    for n in 0..3 {
        let says = Some(format!("point {n}"));
        let (status, _) = world.external.report("s", ScanState::Running, says, None).unwrap();
        assert_eq!((status.revision, status.message), (revision, Some(format!("point {n}"))));
    }
    assert!(world.external.unsaved.lock().unwrap().is_empty());
    let lines = world.context.bus.after(0, usize::MAX).unwrap();
    let lines = lines.iter().filter(|e| &*e.kind == "queue_log").count();
    assert_eq!(lines, 1, "that it is running was said when it was registered");
}

#[test]
fn an_alert_of_before_a_restart_is_over_when_the_program_is_heard() {
    let world = World::new();
    world.register("s");
    let world = world.again();
    // As the alerts have it from before.
    world.context.alerts.raise("scan.s.silent", Severity::Minor, "silent", "");
    assert_eq!(world.alerts(), [("scan.s.silent".to_string(), "active".to_string())]);
    world.post("s", 0, 1).unwrap();
    assert_ne!(world.alerts(), [("scan.s.silent".to_string(), "active".to_string())]);
}

#[test]
fn the_oldest_that_ended_go_first() {
    let world = World::over(tempfile::tempdir().unwrap(), 2);
    for id in ["a", "b", "c"] {
        world.register(id);
        world.say(id, ScanState::Completed);
    }
    world.register("live");
    assert!(world.external.remove("live").is_err());
    world.external.tick();
    assert_eq!(world.external.statuses().len(), 3);
    assert!(world.external.has("live"));
    world.external.remove("c").or_else(|_| world.external.remove("b")).unwrap();
    assert_eq!(world.external.statuses().len(), 2);
}

#[test]
fn whoever_waits_is_woken_by_a_command_and_by_the_end_of_the_daemon() {
    let world = Arc::new(World::new());
    world.register("s");
    let control = world.external.wait("s", Duration::from_millis(20)).unwrap();
    assert_eq!(control.pending, None);
    // Somebody waits in a thread; gives what it heard, and after how long.
    let waiter = || {
        let (world, (to, heard)) = (Arc::clone(&world), bounded(1));
        let wait = move || {
            let began = Instant::now();
            let control = world.external.wait("s", Duration::from_secs(25)).unwrap();
            to.send((control.pending, began.elapsed())).unwrap();
        };
        let thread = crate::threads::spawn("waiter", limits::STACK, wait).unwrap();
        (thread, heard)
    };
    let (thread, heard) = waiter();
    while world.external.waiting.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    world.ask("s", "pause", json!({}));
    let (pending, took) = heard.recv().unwrap();
    assert!(pending == Some("pause") && took < Duration::from_secs(5), "{pending:?} {took:?}");
    thread.join().unwrap();
    world.say("s", ScanState::Paused);
    let (thread, heard) = waiter();
    while world.external.waiting.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    world.context.stop.stop();
    world.external.stop();
    assert!(heard.recv().unwrap().1 < Duration::from_secs(5));
    thread.join().unwrap();
}

#[test]
fn points_alone_have_the_status_told_twice_a_second() {
    let world = World::new();
    world.register("s");
    let statuses = |world: &World| {
        let events = world.context.bus.after(0, usize::MAX).unwrap();
        events.iter().filter(|e| &*e.kind == "scan_status").count()
    };
    let before = statuses(&world);
    let began = Instant::now();
    for n in 0..300 {
        world.post("s", n, n + 1).unwrap();
    }
    let most = 2 + 2 * began.elapsed().as_secs() as usize;
    assert!(statuses(&world) - before <= most, "{} statuses", statuses(&world) - before);
}

#[test]
fn ids_of_alerts_are_ids() {
    assert_eq!(alert("S1", "silent"), "scan.S1.silent");
    assert_eq!(alert(&"x".repeat(64), "silent").len(), 64);
}

#[test]
fn descriptions_are_bounded_one_by_one_and_together() {
    let world = World::over(tempfile::tempdir().unwrap(), 1_000);
    let register = |id: &str, bytes: usize| {
        let description = json!("x".repeat(bytes - 2));
        let wish = NewExternal { scan_id: Some(id.into()), description, ..NewExternal::default() };
        world.external.register(wish, || Ok("SCAN_001".into()), |_| false)
    };
    let too_large = register("large", limits::DESCRIPTION_BYTES + 1);
    assert!(matches!(too_large, Err(LabError::Invalid("description", _))), "{too_large:?}");
    let fits = limits::DESCRIPTIONS_BYTES / limits::DESCRIPTION_BYTES;
    for n in 0..fits {
        register(&format!("a{n:03}"), limits::DESCRIPTION_BYTES).unwrap();
    }
    let too_many = register("more", limits::DESCRIPTION_BYTES);
    assert!(matches!(too_many, Err(LabError::Full(_))), "{too_many:?}");
    assert!(register("a000", 1_000).is_ok_and(|r| !r.is_new), "its program came back");
    for n in 0..fits {
        world.say(&format!("a{n:03}"), ScanState::Completed);
    }
    world.external.tick();
    assert!(world.external.has("a000"), "there is as much room for those that have ended");
    register("b000", limits::DESCRIPTION_BYTES).unwrap();
    world.say("b000", ScanState::Completed);
    world.external.tick();
    assert!(!world.external.has("a000"), "the one that ended first goes");
    assert!(world.external.has("a001") && world.external.has("b000"));
}
