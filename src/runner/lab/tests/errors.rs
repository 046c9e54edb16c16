//! What fails, what is tried again, what is left out.

use super::*;

#[test]
fn a_cleanup_that_fails_is_an_alert_and_does_not_hide_the_first_error() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(20);
    description["on_error"] = json!("abort");
    description["always"] = json!([{"set": "psu.voltage", "value": 5}, {"gpio": "relay1", "value": 0}]);
    world.fakes.rule("psu set voltage 5", Reply::Fail("psu: the device says -221"), 9);
    let scan = world.add(&queue, description);
    world.fakes.rule("dmm read", Reply::Number(1.0), 2);
    world.fakes.rule("dmm read", Reply::Fail("no answer to `READ?` within 2 s"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.error.as_deref(), Some("dmm: no answer to `READ?` within 2 s"));
    assert_eq!((status.exit_reason.as_deref(), status.progress), (Some("error"), Some(0.1)));
    assert_eq!(world.fakes.asked().last().unwrap(), "relay1 set level off", "every step of it was tried");
    let log = world.log_of(&scan);
    assert!(log.iter().any(|(code, text)| code == "cleanup_failed" && text.contains("-221")), "{log:?}");
    let said =
        world.events("alert").iter().any(|a| a["message"].as_str().unwrap().contains("clean-up failed"));
    assert!(said);
    let queue = world.until_queue(&queue, QueueState::Paused);
    assert_eq!((queue.failed_scans, queue.pause_reason.as_deref()), (1, Some("scan_failed")));
    world.end();
}

#[test]
fn an_error_pauses_and_the_point_is_taken_again() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(6);
    description["on_error"] = json!({"retry": 2, "then": "pause"});
    let scan = world.add(&queue, description);
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: no answer to `VOLT 0.02` within 2 s"), 3);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Paused);
    assert_eq!(status.error.as_deref(), Some("psu: no answer to `VOLT 0.02` within 2 s (2 retries)"));
    assert_eq!(status.points_done, Some(2));
    let alerts = world.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["alert_id"], format!("scan.{scan}"));
    let retries = world.log_of(&scan).iter().filter(|(code, _)| code == "retry").count();
    assert_eq!(retries, 2);
    // Still broken: it stays paused, and the command says why.
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: still no answer"), 3);
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert!(world.done(&resume).state != CommandState::Accepted);
    world.until("it to be paused again", || {
        (world.status(&scan).error.as_deref() == Some("psu: still no answer (2 retries)")
            || world.status(&scan).error.as_deref() == Some("psu: still no answer"))
        .then_some(())
    });
    world.until("the rules to be used up", || {
        let status = world.status(&scan);
        if status.status == ScanState::Paused && status.pending.is_none() {
            world.tell(&format!("scan/{scan}"), "resume", json!({}));
        }
        (status.status == ScanState::Completed).then_some(())
    });
    let status = world.status(&scan);
    assert_eq!((status.points_done, status.error), (Some(6), None));
    assert_eq!(world.rows(&scan), 6);
    assert!(world.alerts().iter().all(|a| a["state"] != "active"));
    world.end();
}

#[test]
fn a_point_that_fails_is_left_out_and_what_it_left_behind_is_set_before_the_next() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "axes": [{"set": "stage.x", "values": [1, 2]}, {"set": "psu.voltage", "values": [1, 2, 3]}],
            "measure": ["dmm.voltage"], "on_error": "skip_point",
        }),
    );
    // The outer axis does not move at first: the point is lost, and the next one needs it all the same.
    world.fakes.rule("stage set x 2", Reply::Fail("stage: it is stuck"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped, status.progress), (Some(5), Some(1), Some(1.0)));
    assert_eq!(world.rows(&scan), 5);
    let sets: Vec<String> =
        world.fakes.asked().into_iter().filter(|l| l.contains("set") || l.contains("dmm")).collect();
    let tail: Vec<&str> = sets.iter().map(String::as_str).skip(7).collect();
    assert_eq!(
        tail,
        [
            "stage set x 2",
            "psu set voltage 2",
            "stage set x 2",
            "dmm read voltage",
            "psu set voltage 3",
            "dmm read voltage"
        ]
    );
    world.end();
}

#[test]
fn somebody_leaves_a_point_out() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(10));
    world.fakes.rule("dmm read", Reply::Number(1.0), 4);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("dmm read", 5);
    let skip = world.tell(&format!("scan/{scan}"), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(9), Some(1)));
    world.end();
}

#[test]
fn what_does_not_come_in_time_says_what_it_is() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [{"wait_until": {"channel": "dmm.voltage", "within": 0.5, "of": 80, "timeout_s": 0.3}}, {"measure": ["dmm.voltage"]}],
            "on_error": "abort",
        }),
    );
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.exit_reason.as_deref(), Some("timeout"));
    assert_eq!(status.error.as_deref(), Some("dmm.voltage was not within 0.5 of 80 within 0.3 s; it is 0"));
    world.end();
}

/// The scan measured on while its machine said paused, and never ended.
#[test]
fn a_resume_that_fails_leaves_it_paused_although_points_may_be_skipped() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(300);
    description["on_error"] = json!("skip_point");
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_points(&scan, 3);
    let pause = world.tell(&format!("queue/{queue}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    world.fakes.rule("psu set", Reply::Fail("psu: it is off"), 2);
    let resume = world.tell(&format!("queue/{queue}"), "resume", json!({}));
    let result = world.done(&resume);
    assert_eq!((result.state, result.reason.as_deref()), (CommandState::Failed, Some("psu: it is off")));
    let status = world.status(&scan);
    assert_eq!((status.status, status.error.as_deref()), (ScanState::Paused, Some("psu: it is off")));
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert_eq!(world.done(&resume).state, CommandState::Failed);
    let points = world.rows(&scan);
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    let status = world.until_scan(&scan, ScanState::Completed);
    assert!(points < 300 && status.points_done == Some(300) && status.more.skipped.is_none(), "{status:?}");
    world.end();
}

#[test]
fn a_point_that_failed_is_skipped_while_the_pause_begins() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(5);
    description["on_pause"] = json!([{"settle": 0.3}, {"log": "laser off"}]);
    let scan = world.add(&queue, description);
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: no answer"), 1);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Paused);
    assert!(!world.log_of(&scan).iter().any(|(_, text)| text == "laser off"));
    let skip = world.tell(&format!("scan/{scan}"), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(4), Some(1)));
    assert!(
        world.log_of(&scan).iter().any(|(_, text)| text == "laser off"),
        "what belongs to a pause is done"
    );
    world.until_queue(&queue, QueueState::Completed);
    world.end();
}

#[test]
fn a_pin_that_fails_after_a_point_is_set_when_it_goes_on_and_again_after_a_pause() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({"steps": [
            {"gpio": "relay1", "value": 1},
            {"measure": ["dmm.voltage"]},
            {"gpio": "relay1", "value": 0},
            {"prompt": "Look"},
            {"measure": ["dmm.voltage"]},
        ]}),
    );
    world.fakes.rule("relay1 set level off", Reply::Fail("relay1: it is stuck"), 1);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Paused);
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until("the prompt", || world.status(&scan).more.prompt);
    let asked = world.fakes.asked().len();
    assert_eq!(world.fakes.asked().last().unwrap(), "relay1 set level off");
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(
        world.fakes.asked()[asked..],
        ["relay1 set level off", "dmm read voltage"],
        "somebody may have turned it"
    );
    world.end();
}

#[test]
fn what_is_blocked_pauses_also_where_its_source_says_so_and_where_points_are_left_out() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "before": [{"gpio": "relay1", "value": 1}],
            "steps": [{"loop": {"set": "psu.voltage", "values": [1, 2]}, "do": [
                {"gpio": "relay1", "value": 0},
                {"measure": ["dmm.voltage"]},
            ]}],
            "on_error": "skip_point",
        }),
    );
    for level in ["on", "off"] {
        let begins = format!("relay1 set level {level}");
        world.fakes.rule(&begins, Reply::Fail("interlock: relay1 is blocked by the alert hot."), 1);
    }
    world.start(&queue);
    let paused = || {
        let status = world.until_scan(&scan, ScanState::Paused);
        assert_eq!(status.error.as_deref(), Some("relay1 is blocked by the alert hot"));
        world.fakes.asked_of("relay1").len()
    };
    assert_eq!(paused(), 1);
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until_asked("relay1 set level off", 1);
    paused();
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped.unwrap_or(0)), (Some(2), 0));
    world.end();
}
