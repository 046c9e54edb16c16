//! The runner of scans: what it costs per point beyond the time its instruments take. The instruments are threads that
//! answer at once; the bus, the store with its writer and the desk are real.

use crate::Table;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use telltale::alerts::Alerts;
use telltale::bus::{Bus, Command, Commands};
use telltale::config;
use telltale::metrics::Metrics;
use telltale::model::CommandState;
use telltale::runner::{Lab, NewQueue};
use telltale::sources::reading::{Reading, Value};
use telltale::sources::recordings::Recordings;
use telltale::sources::{
    Asked, ChannelOffer, Context, Instruments, Offer, Outcome, Outlets, Recorders, Request, Setting,
};
use telltale::store::{self, Store};
use telltale::threads::{self, Stop};

/// Points of the scan.
const POINTS: u64 = 5_000;

/// Time per point of a scan, and of its requests alone.
pub fn overhead(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a folder");
    let context = context(dir.path());
    let (lab, lab_thread) = Lab::start(&context, &config::Lab::default()).expect("the lab starts");
    let writer = store::start_writer(
        Arc::clone(&context.bus),
        Arc::clone(&context.store),
        Arc::new(AtomicBool::new(false)),
    )
    .expect("the writer starts");
    let fakes: Vec<_> = [("psu", true), ("dmm", false)]
        .into_iter()
        .map(|(id, settable)| fake(&context.instruments, id, settable))
        .collect();

    let alone = requests_alone(&context.instruments);
    let begun = Instant::now();
    let active = scan(&lab, &context);
    let wall = begun.elapsed();
    let per_point = active.as_secs_f64() * 1e6 / POINTS as f64;
    let of_requests = alone.as_secs_f64() * 1e6 / POINTS as f64;
    let over = per_point - of_requests;
    table.note("runner: time per point, instruments that answer at once", format!("{per_point:.0} us"));
    table.note("runner: of that, the two requests alone", format!("{of_requests:.0} us"));
    table.goal("runner: its own time per point", format!("{over:.0} us"), "under 1 ms", over < 1_000.0);
    // An instrument with a serial line at 9,600 baud needs some 20 ms for a set and a reading.
    table.note("runner: share of a point of 20 ms", format!("{:.1} %", over / 20_000.0 * 100.0));
    table.note("runner: points of the scan, and in all", format!("{POINTS} in {:.2} s", wall.as_secs_f64()));

    context.stop.stop();
    threads::join(lab_thread);
    for (id, fake) in ["psu", "dmm"].into_iter().zip(fakes) {
        context.instruments.withdraw(id);
        threads::join(fake);
    }
    context.bus.stop();
    threads::join(writer);
}

fn context(data: &std::path::Path) -> Context {
    let opened = Store::open(data, &config::Store::default()).expect("a store");
    let bus = Arc::new(Bus::new(opened.start, Arc::new(Metrics::default())));
    let store = Arc::new(opened.store);
    let commands = Arc::new(Commands::new(Arc::clone(&bus)));
    let alerts = Arc::new(Alerts::new(Arc::clone(&bus)));
    let outlets = Arc::new(Outlets::default());
    let recordings =
        Recordings::new(Arc::clone(&bus), Arc::clone(&store), Arc::clone(&alerts), data.to_path_buf());
    Context {
        recorders: Arc::new(Recorders::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&outlets))),
        bus,
        commands,
        store,
        alerts,
        outlets,
        instruments: Arc::new(Instruments::default()),
        recordings: Arc::new(recordings),
        stop: Stop::default(),
    }
}

fn fake(instruments: &Instruments, id: &str, settable: bool) -> std::thread::JoinHandle<()> {
    let (to, requests) = crossbeam::channel::bounded::<Asked>(16);
    let voltage = ChannelOffer {
        name: "voltage".into(),
        unit: Some("V".into()),
        settable,
        readable: true,
        min: Some(0.0),
        max: Some(10.0),
        ..ChannelOffer::default()
    };
    let offer = Offer {
        id: id.into(),
        name: id.into(),
        channels: vec![voltage],
        timeout: Duration::from_secs(1),
        ..Offer::default()
    };
    instruments.offer(offer, to, Arc::new(|| ()));
    threads::spawn("fake", 256 * 1024, move || {
        for asked in requests {
            let readings = match &asked.request {
                Request::Read { channels } => channels
                    .iter()
                    .map(|name| Reading { name: name.clone(), value: Value::Number(1.25), unit: None })
                    .collect(),
                _ => Vec::new(),
            };
            let outcome = Outcome { state: CommandState::Completed, readings, text: None, reason: None };
            let _ = asked.reply.send(outcome);
        }
    })
    .expect("a thread")
}

/// What a set and a reading cost without a runner.
fn requests_alone(instruments: &Instruments) -> Duration {
    let begun = Instant::now();
    for n in 0..POINTS {
        let set = Request::Set {
            channel: "voltage".into(),
            to: Setting::Number(n as f64 / POINTS as f64),
            tolerance: None,
            within: None,
            arrive: true,
        };
        let answer = instruments.ask("psu", set).expect("it is there");
        answer.from.recv().expect("it answers");
        let read = Request::Read { channels: vec!["voltage".into()] };
        let answer = instruments.ask("dmm", read).expect("it is there");
        answer.from.recv().expect("it answers");
    }
    begun.elapsed()
}

/// Runs the scan; gives its active time.
fn scan(lab: &Arc<Lab>, context: &Context) -> Duration {
    let queue = lab.create_queue(NewQueue::default()).expect("a queue").queue_id;
    let description = json!({
        "axes": [{"set": "psu.voltage", "start": 0, "stop": 5, "points": POINTS}],
        "measure": ["dmm.voltage"],
    });
    let (items, _) = lab.add_scans(&queue, vec![description], false, None).expect("it is added");
    let id = items.first().expect("one scan").scan_id.clone();
    context.commands.submit(Command {
        id: "start".into(),
        target: format!("queue/{queue}"),
        action: "start".into(),
        params: Default::default(),
        by: None,
        reason: None,
    });
    let begun = Instant::now();
    loop {
        let status = lab.scan(&id).expect("it is there").status;
        if status.more.ended_at.is_some() {
            assert_eq!(status.points_done, Some(POINTS), "{status:?}");
            return Duration::from_secs_f64(status.active_s.unwrap_or_default());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it ends");
        std::thread::sleep(Duration::from_millis(50));
    }
}
