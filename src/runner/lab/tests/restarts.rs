//! What is there after a restart, and what nothing runs any more.

use super::*;

#[test]
fn after_a_restart_nothing_moves_by_itself() {
    let world = world();
    let queue = world.queue();
    let ids: Vec<String> = {
        let (items, _) = world.lab.add_scans(&queue, vec![iv(100), iv(3)], false, None).unwrap();
        items.iter().map(|scan| scan.scan_id.clone()).collect()
    };
    world.fakes.rule("dmm read", Reply::Number(1.0), 37);
    world.fakes.rule("dmm read", Reply::Hang, 2);
    world.start(&queue);
    world.until_asked("dmm read", 38);
    let skip = world.tell(&format!("scan/{}", ids[0]), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    world.until_asked("dmm read", 39);
    world.lab.keep_template(None, "Monday", vec![iv(3)]).unwrap();
    let sets = world.fakes.asked_of("psu set").len();
    let fakes = Arc::clone(&world.fakes);
    let told = world.context.bus.state_of(&format!("scan_status/{}", ids[0])).unwrap();
    let told: ScanStatus = serde_json::from_str(told.payload()).unwrap();
    let world = world.restart();
    assert_eq!(fakes.asked_of("psu set").len(), sets, "the end of telltale cleans nothing up");
    let status = world.status(&ids[0]);
    assert_eq!((status.status, status.exit_reason.as_deref()), (ScanState::Failed, Some("interrupted")));
    assert_eq!((status.points_done, status.progress), (Some(37), Some(0.38)));
    assert_eq!((status.num_points.get("main"), world.rows(&ids[0])), (Some(&37), 37));
    assert!(status.revision > told.revision, "{} after {}", status.revision, told.revision);
    assert!(
        status.active_s >= told.active_s && told.active_s > Some(0.0),
        "{:?} {:?}",
        status.active_s,
        told.active_s
    );
    assert_eq!(status.more.skipped, Some(1));
    let now = world.lab.queue(&queue).unwrap();
    assert_eq!((now.status, now.pause_reason.as_deref()), (QueueState::Paused, Some("restart")));
    assert_eq!((now.order, now.failed_scans), (vec![ids[1].clone()], 1));
    // Only where the configuration says what is safe: the supply, not the meter.
    world
        .until("psu to be made safe", || world.fakes.asked().contains(&"psu safe".to_string()).then_some(()));
    assert_eq!(world.fakes.asked(), ["psu safe"]);
    assert_eq!(world.lab.templates().len(), 1);
    world.tell(&format!("queue/{queue}"), "resume", json!({}));
    world.until_scan(&ids[1], ScanState::Completed);
    // An id is never used again.
    let again = world.lab.requeue(&ids[0], false, None).unwrap();
    assert_eq!(again.more.retry_of.as_deref(), Some(ids[0].as_str()));
    assert!(!ids.contains(&again.scan_id));
    world.end();
}

#[test]
fn a_scan_that_nothing_runs_any_more_has_ended_whatever_its_machine_says() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(300));
    world.start(&queue);
    world.until_points(&scan, 1);
    let pause = world.tell(&format!("scan/{scan}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    world.lab.halted(&scan, &Halted::Finished);
    world.lab.cleaned_up(&scan, &Halted::Finished, None);
    let status = world.status(&scan);
    assert_eq!((status.status, status.exit_reason.as_deref()), (ScanState::Failed, Some("error")));
    world.end();
}

#[test]
fn one_that_can_not_run_any_more_leaves_no_alert_behind() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(3));
    world.context.instruments.withdraw("dmm");
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert!(status.error.unwrap().contains("it can't run any more"));
    world.until_queue(&queue, QueueState::Paused);
    let raised = world.events("alert").iter().any(|a| a["alert_id"] == format!("scan.{scan}"));
    assert!(raised && world.alerts().iter().all(|a| a["state"] != "active"), "{:?}", world.alerts());
    world.end();
}
