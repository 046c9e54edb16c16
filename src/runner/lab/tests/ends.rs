//! Aborts, stops, and the end of telltale.

use super::*;

#[test]
fn an_abort_ends_what_blocks_and_cleans_up() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("dmm read", Reply::Number(1.0), 37);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_points(&scan, 37);
    world.until_asked("dmm read", 38);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    let result = world.done(&abort);
    assert_eq!((result.state, result.status.as_deref()), (CommandState::Completed, Some("aborted")));
    let status = world.status(&scan);
    assert_eq!((status.progress, status.points_done), (Some(0.37), Some(37)));
    assert_eq!(status.exit_reason.as_deref(), Some("user_abort"));
    assert_eq!(world.fakes.asked_of("psu set").last().unwrap(), "psu set voltage 5");
    world.until("the read to be given up", || {
        world.fakes.asked().contains(&"given up: dmm read voltage".to_string()).then_some(())
    });
    assert_eq!(world.rows(&scan), 37);
    let queue = world.until_queue(&queue, QueueState::Paused);
    assert_eq!(queue.pause_reason.as_deref(), Some("scan_aborted"));
    assert_eq!(world.alerts().len(), 0, "a person did that");
    world.end();
}

/// An aborted scan had sent a motor to 200 mm, and it went on to there by itself.
#[test]
fn what_is_under_way_is_stopped_by_an_abort() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("psu set voltage 0.03", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("psu set voltage 0.03", 1);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    assert_eq!(world.done(&abort).state, CommandState::Completed);
    let asked = world.fakes.asked();
    let place =
        |line: &str| asked.iter().rposition(|asked| asked == line).unwrap_or_else(|| panic!("{asked:?}"));
    assert!(place("psu stop") < place("psu set voltage 5"), "stopped, and then the clean-up: {asked:?}");
    world.end();
}

#[test]
fn an_abort_that_is_not_confirmed_is_an_alert_and_force_ends_it() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("dmm read", Reply::Number(1.0), 3);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_points(&scan, 3);
    world.fakes.rule("psu set voltage 5", Reply::Hang, 9);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    let result = world.done(&abort);
    assert_eq!(result.state, CommandState::TimedOut);
    let reason = result.reason.unwrap();
    assert!(reason.contains("not confirmed") && reason.contains("psu.voltage = 5"), "{reason}");
    let status = world.status(&scan);
    assert_eq!(status.status, ScanState::Running, "never aborted on hope");
    assert_eq!(status.pending.as_deref(), Some("abort"));
    assert_eq!(status.phase.as_deref(), Some("cleanup"));
    let alerts = world.alerts();
    let alert = alerts.iter().find(|a| a["alert_id"] == format!("scan.{scan}.abort")).unwrap();
    assert_eq!((alert["severity"].as_str(), alert["state"].as_str()), (Some("MAJOR"), Some("active")));
    assert!(matches!(world.lab.judge("scan", &scan, "abort", &Map::new()), Some(Judged::Already)));
    let force = world.tell(&format!("scan/{scan}"), "abort", json!({"force": true}));
    assert_eq!(world.done(&force).status.as_deref(), Some("aborted"));
    let log = world.log_of(&scan);
    assert!(log.iter().any(|(code, _)| code == "cleanup_skipped"), "{log:?}");
    let alerts = world.alerts();
    assert!(alerts.iter().all(|a| a["state"] != "active"), "{alerts:?}");
    world.end();
}

#[test]
fn stopping_keeps_what_there_is_as_a_success() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, forever());
    world.start(&queue);
    world.until_points(&scan, 2);
    let stop = world.tell(&format!("scan/{scan}"), "stop", json!({}));
    assert_eq!(world.done(&stop).status.as_deref(), Some("completed"));
    let status = world.status(&scan);
    assert_eq!(status.exit_reason.as_deref(), Some("stopped_early"));
    assert!(status.progress < Some(1.0), "{:?}", status.progress);
    world.end();
}

#[test]
fn telltale_ends_within_its_time_although_an_instrument_hangs() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(5));
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("dmm read", 1);
    let fakes = Arc::clone(&world.fakes);
    let before = fakes.asked_of("psu").len();
    world.end();
    assert_eq!(fakes.asked_of("psu").len(), before, "{scan} is left as it is");
}

/// The instruments may hear of the end before the scan does, and what they do not answer then is no failure of it.
#[test]
fn the_end_of_telltale_is_no_failure() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(500);
    description["on_error"] = json!("abort");
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_points(&scan, 2);
    {
        let held = world.lab.lock();
        // Long enough for the thread of the queue to stand before the lock.
        std::thread::sleep(Duration::from_millis(50));
        world.context.stop.stop();
        for id in ["psu", "dmm"] {
            world.context.instruments.withdraw(id);
        }
        drop(held);
    }
    let world = world.restart();
    let status = world.status(&scan);
    assert_eq!(
        (status.status, status.exit_reason.as_deref()),
        (ScanState::Failed, Some("interrupted")),
        "{status:?}"
    );
    world.end();
}

#[test]
fn what_is_not_waited_for_is_stopped_by_an_abort_and_not_by_a_stop() {
    for (action, stops) in [("abort", 1), ("stop", 0)] {
        let world = world();
        let queue = world.queue();
        let scan = world.add(
            &queue,
            json!({"steps": [
                {"set": "psu.voltage", "value": 3, "wait_readback": false},
                {"loop": {"count": 1000, "interval_s": 0.02}, "do": [{"measure": ["dmm.voltage"]}]},
            ]}),
        );
        world.start(&queue);
        world.until_points(&scan, 1);
        let end = world.tell(&format!("scan/{scan}"), action, json!({}));
        assert_eq!(world.done(&end).state, CommandState::Completed);
        assert_eq!(world.fakes.asked_of("psu stop").len(), stops, "{action}");
        world.end();
    }
}

/// The lab's thread may be at the disk while somebody ends a scan: what was stopped is not set off again meanwhile.
#[test]
fn nothing_is_sent_between_the_wish_to_abort_and_the_abort() {
    let world = world();
    let (queue, other) = (world.queue(), world.queue());
    let scan = world.add(
        &queue,
        json!({
            "axes": [{"set": "psu.voltage", "start": 0, "stop": 6, "points": 5000}],
            "measure": ["dmm.voltage"],
        }),
    );
    let clock =
        world.add(&other, json!({"axes": [], "measure": ["stage.x"], "interval_s": 0.02, "duration_s": 600}));
    world.start(&queue);
    world.start(&other);
    world.until_points(&scan, 1);
    // A lab that does not come to it.
    let inbox = world.context.commands.own(&format!("queue/{queue}"), &["abort"]);
    world.tell(&format!("queue/{queue}"), "abort", json!({}));
    // One may be on its way.
    let sent = world.fakes.asked_of("psu set").len() + 1;
    let points = world.status(&clock).points_done.unwrap_or(0);
    world.until_points(&clock, points + 5);
    assert!(world.fakes.asked_of("psu set").len() <= sent, "{:?}", world.fakes.asked_of("psu set").last());
    assert_eq!(world.status(&scan).status, ScanState::Running);
    world.lab.command(&inbox.try_recv().unwrap());
    world.until_scan(&scan, ScanState::Aborted);
    assert!(world.fakes.asked_of("psu set").len() <= sent);
    world.tell(&format!("scan/{clock}"), "abort", json!({}));
    world.until_scan(&clock, ScanState::Aborted);
    world.end();
}
