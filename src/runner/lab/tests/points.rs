//! One scan: its points, its schedule, what it measures.

use super::*;

#[test]
fn a_scan_runs_from_the_first_point_to_the_last() {
    let world = world();
    let queue = world.queue();
    let description = json!({
        "name": "map",
        "axes": [
            {"set": "stage.x", "start": 0, "stop": 10, "points": 2},
            {"set": "psu.voltage", "values": [1, 2]},
        ],
        "measure": ["dmm.voltage", "psu.voltage"],
        "before": [{"gpio": "relay1", "value": 1}],
        "always": [{"gpio": "relay1", "value": 0}],
    });
    let scan = world.add(&queue, description);
    assert_eq!(world.status(&scan).status, ScanState::Queued);
    assert_eq!(world.status(&scan).points_total, Some(4));
    let command = world.tell(&format!("queue/{queue}"), "start", json!({}));
    assert_eq!(world.done(&command).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!(status.progress, Some(1.0));
    assert_eq!(status.exit_reason.as_deref(), Some("finished"));
    assert_eq!(status.num_points.get("main"), Some(&4));
    assert_eq!(status.points_done, Some(4));
    let done = world.until_queue(&queue, QueueState::Completed);
    assert_eq!((done.completed_scans, done.total_scans, done.progress), (1, 1, Some(1.0)));
    let sets: Vec<String> = world.fakes.asked().into_iter().filter(|line| line.contains(" set ")).collect();
    assert_eq!(
        sets,
        [
            "relay1 set level on",
            "stage set x 0",
            "psu set voltage 1",
            "psu set voltage 2",
            "stage set x 10",
            "psu set voltage 1",
            "psu set voltage 2",
            "relay1 set level off",
        ],
        "outer first, and only what changed"
    );
    let detail = world.lab.scan(&scan).unwrap();
    let names: Vec<&str> = detail.columns["main"].iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["stage.x", "psu.voltage", "dmm.voltage", "psu.voltage.readback"]);
    world.context.stop.is_stopped();
    let rows: Vec<Value> = world.events("data_point");
    let batches = world.events("data_batch");
    let told = rows.len() + batches.iter().map(|b| b["t_rel"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(told, 4, "{rows:?} {batches:?}");
    let all = format!("{rows:?}{batches:?}");
    assert!(all.contains("psu.voltage.readback"), "{all}");
    // The revision only grows, and the last status is the end.
    let revisions: Vec<u64> =
        world.events("scan_status").iter().map(|s| s["revision"].as_u64().unwrap()).collect();
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
    assert!(world.context.instruments.used_by("psu").is_none());
    world.end();
}

#[test]
fn it_pauses_between_points_and_applies_everything_again() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "axes": [{"set": "stage.x", "values": [5, 6]}, {"set": "psu.voltage", "start": 0, "stop": 5, "points": 200, "settle_s": 0.003}],
            "measure": ["dmm.voltage"], "samples": 2,
            "on_pause": [{"log": "laser off"}], "on_resume": [{"log": "laser on"}],
        }),
    );
    world.start(&queue);
    world.until_points(&scan, 5);
    let pause = world.tell(&format!("scan/{scan}"), "pause", json!({}));
    assert_eq!(world.done(&pause).status.as_deref(), Some("paused"));
    // It was told before the command was.
    let paused = world.events("scan_status").iter().position(|s| s["status"] == "paused");
    assert!(paused.is_some());
    let at = world.status(&scan);
    assert_eq!((at.status, at.eta_s), (ScanState::Paused, None));
    assert_eq!(world.rows(&scan), at.points_done.unwrap());
    assert_eq!(world.lab.queue(&queue).unwrap().pause_reason.as_deref(), Some("scan_paused"));
    let asked = world.fakes.asked().len();
    let again = world.lab.judge("scan", &scan, "pause", &Map::new());
    assert!(matches!(again, Some(Judged::Already)), "{again:?}");
    assert_eq!(world.fakes.asked().len(), asked, "nothing moves while it is paused");
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert_eq!(world.done(&resume).status.as_deref(), Some("running"));
    let after: Vec<String> = world.fakes.asked().split_off(asked);
    assert_eq!(after[0], "stage set x 5", "{after:?}");
    assert!(after[1].starts_with("psu set voltage"), "{after:?}");
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.rows(&scan), 400);
    let log = world.log_of(&scan);
    let at = |text: &str| log.iter().position(|(_, message)| message.contains(text)).unwrap();
    assert!(at("laser off") < at("Paused after") && at("Paused after") < at("laser on"), "{log:?}");
    world.end();
}

#[test]
fn a_schedule_is_shifted_by_a_pause_without_a_burst() {
    let world = world();
    let queue = world.queue();
    let scan =
        world.add(&queue, json!({"measure": ["dmm.voltage"], "axes": [], "count": 12, "interval_s": 0.05}));
    world.start(&queue);
    world.until_points(&scan, 3);
    let pause = world.tell(&format!("queue/{queue}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    let before = world.rows(&scan);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.rows(&scan), before);
    world.tell(&format!("queue/{queue}"), "resume", json!({}));
    let status = world.until_scan(&scan, ScanState::Completed);
    let (elapsed, active) = (status.elapsed_s.unwrap(), status.active_s.unwrap());
    let paused = elapsed - active;
    assert!(paused > 0.35, "{elapsed} {active}");
    assert!(active > 0.5, "{active}");
    assert_eq!(world.rows(&scan), 12);
    // Had the schedule not been shifted, the points that were due during the pause would be late by what was left of it.
    let late = status.more.late_ms.unwrap_or(0) as f64 / 1e3;
    assert!(late < paused - 0.05, "late by {late} s, paused for {paused} s");
    world.end();
}

#[test]
fn what_is_no_number_is_null_with_a_reason() {
    let world = world();
    let queue = world.queue();
    world.fakes.rule("dmm read", Reply::Missing(crate::model::QualityReason::Nan), 1);
    world.fakes.rule("dmm read", Reply::Number(9.91e37), 1);
    world.fakes.rule("dmm read", Reply::Number(f64::NAN), 1);
    let scan =
        world.add(&queue, json!({"axes": [], "count": 3, "interval_s": 0.15, "measure": ["dmm.voltage"]}));
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    let rows = world.events("data_point");
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row["data"]["dmm.voltage"].is_null(), "{row}");
        assert_eq!(row["quality"]["dmm.voltage"], "bad/nan");
    }
    world.end();
}

#[test]
fn the_mean_of_samples_is_of_numbers_only() {
    let world = world();
    let queue = world.queue();
    for reply in [Reply::Number(1.0), Reply::Missing(crate::model::QualityReason::Nan), Reply::Number(3.0)] {
        world.fakes.rule("dmm read", reply, 1);
    }
    let scan = world.add(
        &queue,
        json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["dmm.voltage"], "samples": 3, "average": true}),
    );
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.events("data_point")[0]["data"]["dmm.voltage"], 2.0);
    world.end();
}

#[test]
fn a_limit_ends_it_and_the_row_that_says_so_is_kept() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(100);
    description["abort_if"] = json!([{"channel": "psu.current", "above": 0.1}]);
    description["on_error"] = json!("skip_point");
    world.fakes.rule("psu read", Reply::Number(0.05), 4);
    world.fakes.rule("psu read", Reply::Number(0.2), 1);
    let scan = world.add(&queue, description);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.exit_reason.as_deref(), Some("limit"));
    assert_eq!(status.error.as_deref(), Some("psu.current is 0.2, above 0.1"));
    assert_eq!((world.rows(&scan), status.progress), (5, Some(0.05)));
    assert_eq!(world.fakes.asked_of("psu set").last().unwrap(), "psu set voltage 5");
    world.end();
}

#[test]
fn one_alone_prompts_queries_and_waits() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [
                {"query": "psu", "text": "*IDN?"},
                {"prompt": "Put the sample in"},
                {"wait_until": {"channel": "dmm.voltage", "above": 4, "for_s": 0.1, "timeout_s": 5}},
                {"measure": ["dmm.voltage"]},
                {"log": "ramp done"},
            ],
        }),
    );
    let other = world.add(&queue, iv(2));
    world.tell(&format!("scan/{scan}"), "start", json!({}));
    let status = world.until_scan(&scan, ScanState::Paused);
    assert_eq!(status.more.prompt.as_deref(), Some("Put the sample in"));
    assert!(world.log_of(&scan).iter().any(|(_, text)| text.contains("*IDN? -> ANSWER")));
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until("it to wait", || world.status(&scan).more.current_step.filter(|s| s.contains("above 4")));
    world.fakes.values.lock().unwrap().insert("dmm.voltage".into(), 5.0);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!(status.points_done, Some(1));
    assert!(world.log_of(&scan).iter().any(|(code, text)| code == "log" && text == "ramp done"));
    assert_eq!(world.status(&other).status, ScanState::Queued, "the others wait on");
    world.until_queue(&queue, QueueState::Paused);
    world.end();
}

#[test]
fn axes_return_to_where_they_were() {
    let world = world();
    let queue = world.queue();
    world.fakes.values.lock().unwrap().insert("stage.x".into(), 42.0);
    let scan = world.add(
        &queue,
        json!({"axes": [{"set": "stage.x", "values": [1, 2]}], "measure": ["dmm.voltage"], "after": "return"}),
    );
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.fakes.asked_of("stage set").last().unwrap(), "stage set x 42");
    world.end();
}

#[test]
fn a_channel_that_a_program_posts_is_read_from_the_state() {
    let world = world();
    let queue = world.queue();
    let post = |quality: &str| {
        let now = Wall::now();
        let mut channel =
            json!({"value": 4.2, "unit": "K", "quality": quality, "last_changed": now, "last_updated": now});
        if quality != "good" {
            channel["quality_reason"] = json!("stale");
        }
        let status = json!({"instrument_id": "cryo", "instrument_name": "Cryostat", "status": "idle", "timestamp": now,
            "channels": {"t": channel}});
        world.context.bus.publish(Draft::of("instrument_status", &status).unwrap()).unwrap();
    };
    post("good");
    let description = json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["cryo.t", "dmm.voltage"]});
    let scan = world.add(&queue, description.clone());
    assert!(matches!(
        world.lab.add_scans(
            &queue,
            vec![json!({"axes": [{"set": "cryo.t", "values": [1]}], "measure": ["cryo.t"]})],
            false,
            None
        ),
        Err(LabError::Faults(_))
    ));
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.events("data_point")[0]["data"]["cryo.t"], 4.2);
    post("uncertain");
    world.until_queue(&queue, QueueState::Completed);
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    let row = &world.events("data_point")[1];
    assert!(row["data"]["cryo.t"].is_null());
    assert_eq!(row["quality"]["cryo.t"], "uncertain/stale");
    world.end();
}

#[test]
fn what_follows_the_last_point_is_no_point() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [
                {"measure": ["dmm.voltage"]},
                {"set": "psu.voltage", "value": 1},
                {"loop": {"count": 2, "interval_s": 0.01}, "do": [{"log": "waits"}]},
                {"measure": ["dmm.voltage"]},
                {"set": "psu.voltage", "value": 2},
            ],
            "on_error": "skip_point",
        }),
    );
    // One on the way to the second point, before a pass of a loop is due, and one after the last.
    world.fakes.rule("psu set voltage 1", Reply::Fail("psu: no answer"), 1);
    world.fakes.rule("psu set voltage 2", Reply::Fail("psu: no answer"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped, status.points_total), (Some(1), Some(1), Some(2)));
    let log = world.log_of(&scan);
    assert!(
        log.iter().any(|(code, text)| code == "point_skipped" && text.starts_with("Point 2 ")),
        "{log:?}"
    );
    assert!(log.iter().any(|(code, text)| code == "steps_skipped" && text.contains("no answer")), "{log:?}");
    world.end();
}

#[test]
fn output_pins_are_set_points_too() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [{"loop": {"set": "stage.x", "values": [1, 2]}, "do": [
                {"gpio": "relay1", "value": 1},
                {"loop": {"set": "psu.voltage", "values": [1, 2]}, "do": [{"measure": ["dmm.voltage"]}]},
                {"gpio": "relay1", "value": 0},
            ]}],
            "on_error": "skip_point",
        }),
    );
    world.fakes.rule("relay1 set level on", Reply::Fail("relay1: it is stuck"), 1);
    world.fakes.rule("dmm read", Reply::Number(1.0), 2);
    world.fakes.rule("dmm read", Reply::Fail("dmm: no answer"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(2), Some(2)));
    let asked = world.fakes.asked();
    let first = asked.iter().position(|line| line.starts_with("dmm")).unwrap();
    let before: Vec<&str> =
        asked[..first].iter().map(String::as_str).filter(|l| l.starts_with("relay1")).collect();
    assert_eq!(
        before,
        ["relay1 set level on", "relay1 set level on"],
        "set before the next point: {asked:?}"
    );
    world.end();
}
