//! Queues: their order, what they run next, what is added and taken out.

use super::*;

#[test]
fn three_scans_in_a_row_and_the_second_is_aborted() {
    let world = world();
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![iv(3), forever(), iv(3)], false, Some("eva")).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.start(&queue);
    world.until_scan(&ids[0], ScanState::Completed);
    world.until_points(&ids[1], 2);
    assert!(world.status(&ids[1]).points_done < Some(1000));
    // Started alone is not possible while the queue is at work.
    let judged = world.lab.judge("scan", &ids[2], "start", &Map::new());
    assert!(matches!(judged, Some(Judged::Impossible(_))), "{judged:?}");
    assert!(!world.status(&ids[2]).allowed_actions.contains(&"start".to_string()));
    let abort = world.tell(&format!("queue/{queue}"), "abort", json!({}));
    assert_eq!(world.done(&abort).status.as_deref(), Some("paused"));
    assert_eq!(world.status(&ids[1]).status, ScanState::Aborted);
    assert_eq!(world.status(&ids[2]).status, ScanState::Queued);
    let status = world.lab.queue(&queue).unwrap();
    assert_eq!((status.completed_scans, status.aborted_scans, status.order.len()), (1, 1, 1));
    let resume = world.tell(&format!("queue/{queue}"), "resume", json!({}));
    assert_eq!(world.done(&resume).state, CommandState::Completed);
    world.until_scan(&ids[2], ScanState::Completed);
    world.until_queue(&queue, QueueState::Completed);
    // Nothing goes back into the queue by itself.
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 3);
    world.end();
}

#[test]
fn an_abort_that_says_so_goes_on_with_the_next() {
    let world = world();
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![forever(), iv(2)], false, None).unwrap();
    world.start(&queue);
    world.until_points(&items[0].scan_id, 1);
    world.tell(&format!("scan/{}", items[0].scan_id), "abort", json!({"then": "continue"}));
    world.until_scan(&items[1].scan_id, ScanState::Completed);
    assert_eq!(world.status(&items[0].scan_id).status, ScanState::Aborted);
    assert_eq!(world.until_queue(&queue, QueueState::Completed).aborted_scans, 1);
    world.end();
}

#[test]
fn two_who_reorder_at_once_do_not_undo_each_other() {
    let world = world();
    let queue = world.queue();
    let (items, version) = world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<&str> = items.iter().map(|scan| scan.scan_id.as_str()).collect();
    let first = world.lab.move_scan(&queue, ids[2], &Place::Before(ids[0].into()), version).unwrap();
    assert_eq!(first.order, [ids[2], ids[0], ids[1]]);
    assert_eq!(first.order_version, version + 1);
    match world.lab.move_scan(&queue, ids[1], &Place::Position(0), version) {
        Err(LabError::Conflict(conflict)) => {
            assert_eq!(conflict.code, "order_version");
            assert_eq!(conflict.order, Some((version + 1, first.order.clone())));
        }
        other => panic!("{other:?}"),
    }
    let last = world.lab.move_scan(&queue, ids[2], &Place::After(ids[1].into()), version + 1).unwrap();
    assert_eq!(last.order, ids);
    let same = world.lab.move_scan(&queue, ids[2], &Place::Position(9), version + 2).unwrap();
    assert_eq!(same.order_version, version + 2, "nothing changed");
    world.end();
}

#[test]
fn two_queues_run_at_once_when_their_instruments_do_not_meet() {
    let world = world();
    let (one, other) = (world.queue(), world.queue());
    let scan = world.add(&one, forever());
    let meets = world.add(&other, iv(2));
    let apart = json!({"axes": [{"set": "stage.x", "values": [1, 2]}], "measure": ["psu.current"]});
    world.tell(&format!("queue/{one}"), "start", json!({}));
    world.until_points(&scan, 1);
    world.tell(&format!("queue/{other}"), "start", json!({}));
    let status = world.until("it to be blocked", || {
        Some(world.status(&meets)).filter(|status| status.more.blocked_by.is_some())
    });
    assert_eq!(status.status, ScanState::Queued);
    assert_eq!(status.more.blocked_by.as_deref(), Some(format!("dmm is used by {scan}").as_str()));
    // One that needs others may go first.
    let (items, version) = world.lab.add_scans(&other, vec![apart], true, None).unwrap();
    assert!(version > 0);
    world.until_scan(&items[0].scan_id, ScanState::Completed);
    assert_eq!(world.status(&scan).status, ScanState::Running);
    world.tell(&format!("scan/{scan}"), "stop", json!({}));
    world.until_scan(&meets, ScanState::Completed);
    world.end();
}

#[test]
fn all_or_none_is_added_and_nothing_is_asked_of_what_is_out_of_limits() {
    let world = world();
    let queue = world.queue();
    let bad = json!({"axes": [{"set": "psu.voltage", "start": 0, "stop": 60, "points": 5}], "measure": ["dmm.volts"]});
    match world.lab.add_scans(&queue, vec![iv(3), bad], false, None) {
        Err(LabError::Faults(faults)) => {
            assert!(faults.iter().all(|(n, _)| *n == 1) && faults.len() >= 2, "{faults:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.lab.queue(&queue).unwrap().order.len(), 0);
    assert_eq!(world.fakes.asked(), [""; 0]);
    assert!(matches!(world.lab.add_scans("nope", vec![iv(3)], false, None), Err(LabError::Unknown(_))));
    world.end();
}

#[test]
fn a_loop_starts_over_and_a_queue_may_start_by_itself() {
    let world = world();
    let change = QueueChange { looped: Some(true), autostart: Some(true), ..QueueChange::default() };
    let wish = NewQueue { queue_id: Some("night".into()), change };
    let queue = world.lab.create_queue(wish).unwrap().queue_id;
    let scan = world.add(&queue, iv(2));
    world.until("the third pass", || {
        let page = world.lab.scans(
            &ScanFilter { status: vec![ScanState::Completed], ..ScanFilter::default() },
            None,
            10,
        );
        (page.total >= 3).then_some(())
    });
    world.lab.change_queue(&queue, QueueChange { looped: Some(false), ..QueueChange::default() }).unwrap();
    let status = world.until_queue(&queue, QueueState::Completed);
    assert_eq!((status.completed_scans, status.total_scans), (1, 1), "each pass counts anew");
    let page = world.lab.scans(&ScanFilter::default(), None, 100);
    let copies: Vec<_> = page.items.iter().filter(|s| s.more.caused_by.is_some()).collect();
    assert!(copies.len() >= 2);
    assert_eq!(page.items.last().unwrap().scan_id, scan);
    {
        let inner = world.lab.lock();
        let of = |id: &str| &inner.scans[id].description;
        assert!(
            copies.iter().all(|copy| Arc::ptr_eq(of(&copy.scan_id), of(&scan))),
            "one description for all"
        );
    }
    assert!(matches!(
        world.lab.create_queue(NewQueue { queue_id: Some("night".into()), ..NewQueue::default() }),
        Err(LabError::Conflict(_))
    ));
    world.lab.remove_queue(&queue).unwrap();
    assert!(world.lab.queue(&queue).is_none());
    world.end();
}

#[test]
fn waiting_scans_are_taken_out_and_ended_ones_go_with_their_rows() {
    let world =
        world_in(tempfile::tempdir().unwrap(), config::Lab { keep_scans: 2, ..config::Lab::default() });
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.lab.remove_scan(&ids[3], Some("eva")).unwrap();
    assert!(world.lab.scan(&ids[3]).is_none());
    let ended = world.events("scan_status").into_iter().rfind(|s| s["scan_id"] == ids[3].as_str()).unwrap();
    assert_eq!(ended["status"], "aborted");
    world.start(&queue);
    world.until_queue(&queue, QueueState::Completed);
    world.until("the first to be forgotten", || world.lab.scan(&ids[0]).is_none().then_some(()));
    assert!(world.lab.scan(&ids[1]).is_some() && world.lab.scan(&ids[2]).is_some());
    world.lab.remove_scan(&ids[1], None).unwrap();
    world.until("its rows to go", || (world.rows(&ids[1]) == 0).then_some(()));
    let world = world.restart();
    assert!(world.lab.scan(&ids[1]).is_none());
    assert!(world.lab.scan(&ids[2]).is_some());
    assert_eq!(world.rows(&ids[2]), 2);
    world.end();
}

#[test]
fn who_waits_for_an_instrument_and_is_paused_is_not_blocked() {
    let world = world();
    let (one, other) = (world.queue(), world.queue());
    let (first, second) = (world.add(&one, forever()), world.add(&other, forever()));
    world.tell(&format!("queue/{one}"), "start", json!({}));
    world.until_points(&first, 1);
    world.tell(&format!("queue/{other}"), "start", json!({}));
    world.until("it to be blocked", || world.status(&second).more.blocked_by);
    world.tell(&format!("queue/{other}"), "pause", json!({}));
    world.until("it not to be", || world.status(&second).more.blocked_by.is_none().then_some(()));
    world.end();
}

#[test]
fn a_loop_repeats_what_has_completed_and_nothing_else() {
    let world = world();
    let change = QueueChange {
        looped: Some(true),
        on_failure: Some(OnFailure::Continue),
        name: Some("keeps going".into()),
        ..QueueChange::default()
    };
    let queue = world.lab.create_queue(NewQueue { queue_id: None, change }).unwrap().queue_id;
    let failing =
        json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["stage.x"], "on_error": "abort"});
    world.fakes.rule("stage read", Reply::Fail("stage: it is stuck"), 1);
    let (items, _) = world.lab.add_scans(&queue, vec![forever(), failing, iv(2)], false, None).unwrap();
    world.start(&queue);
    world.until_points(&items[0].scan_id, 1);
    world.tell(&format!("scan/{}", items[0].scan_id), "abort", json!({"then": "continue"}));
    let copies = || -> Vec<ScanStatus> {
        let scans = world.lab.scans(&ScanFilter::default(), None, 100).items;
        let of = |scan: &ScanStatus| scan.more.caused_by.as_ref().is_some_and(|id| id.starts_with("SCAN"));
        scans.into_iter().filter(of).collect()
    };
    world.until("two passes more", || (copies().len() >= 2).then_some(()));
    world.lab.change_queue(&queue, QueueChange { looped: Some(false), ..QueueChange::default() }).unwrap();
    world.until_queue(&queue, QueueState::Completed);
    let copies = copies();
    assert!(copies.iter().all(|copy| copy.name.as_deref() == Some("IV")), "{copies:#?}");
    world.end();
}

#[test]
fn one_started_alone_does_not_start_the_pass_over() {
    let world = world();
    let change = QueueChange { looped: Some(true), ..QueueChange::default() };
    let queue = world.lab.create_queue(NewQueue { queue_id: None, change }).unwrap().queue_id;
    let scan = world.add(&queue, iv(2));
    world.tell(&format!("scan/{scan}"), "start", json!({}));
    world.until_queue(&queue, QueueState::Completed);
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 1);
    assert_eq!(world.lab.queue(&queue).unwrap().looped, Some(true));
    world.end();
}

#[test]
fn descriptions_are_bounded_together() {
    let world = world();
    let values = vec![1.25; 10_000];
    let big = || json!({"axes": [{"set": "psu.voltage", "values": values}], "measure": ["dmm.voltage"]});
    let queue = world.queue();
    let fits = limits::DESCRIPTIONS_BYTES / big().to_string().len();
    world.lab.add_scans(&queue, (0..fits).map(|_| big()).collect(), false, None).unwrap();
    let other = world.queue();
    let refused = world.lab.add_scans(&other, vec![big()], false, None);
    assert!(matches!(refused, Err(LabError::Full(_))), "{refused:?}");
    let (items, _) = world.lab.scans_of(&queue, 100).unwrap();
    assert_eq!(items.len(), fits);
    // Of those that ended the list has the last only; and more than so many bytes of them are not kept either.
    for scan in &items[..3] {
        world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
    }
    world.until_aborted(&queue, 3);
    assert_eq!(world.lab.scans_of(&queue, 2).unwrap().0.len(), fits - 3 + 2);
    let (more, _) = world.lab.add_scans(&other, vec![big(), big()], false, None).unwrap();
    for scan in &items[3..] {
        let abort = world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
        world.done(&abort);
    }
    assert!(world.lab.scan(&items[0].scan_id).is_some());
    for scan in &more {
        world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
    }
    world.until_aborted(&other, 2);
    assert!(world.lab.scan(&items[0].scan_id).is_none(), "the one that ended first goes");
    assert!(world.lab.scan(&more[1].scan_id).is_some());
    world.end();
}

/// Scans that never ran took the place of ended ones with rows when their queue was removed.
#[test]
fn a_queue_is_cleared_of_what_waits_and_nothing_else() {
    let world =
        world_in(tempfile::tempdir().unwrap(), config::Lab { keep_scans: 2, ..config::Lab::default() });
    let queue = world.queue();
    let done = world.add(&queue, iv(2));
    world.start(&queue);
    world.until_queue(&queue, QueueState::Completed);
    let (items, seen) =
        world.lab.add_scans(&queue, vec![forever(), iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.start(&queue);
    world.until_points(&ids[0], 2);
    // Somebody adds one that the other has not seen.
    let late = world.add(&queue, iv(2));
    let stale = world.lab.clear_queue(&queue, seen, Some("eva")).unwrap_err();
    let LabError::Conflict(conflict) = stale else { panic!("{stale:?}") };
    let (version, order) = conflict.order.clone().unwrap();
    assert_eq!((conflict.code, order.len()), ("order_version", 5));
    let cleared = world.lab.clear_queue(&queue, version, Some("eva")).unwrap();
    assert_eq!((cleared.status, cleared.current_scan.as_ref()), (QueueState::Running, Some(&ids[0])));
    assert_eq!(cleared.order, [ids[0].clone()]);
    assert_eq!((cleared.total_scans, cleared.aborted_scans), (1, 0), "what was removed does not count");
    assert!(cleared.order_version > version && !cleared.allowed_actions.contains(&"clear".to_string()));
    assert!(ids[1..].iter().chain([&late]).all(|id| world.lab.scan(id).is_none()));
    assert_eq!(world.lab.scan(&done).unwrap().status.status, ScanState::Completed);
    assert_eq!(world.rows(&done), 2);
    let told = world.events("queue_log").into_iter().find(|line| line["code"] == "queue_cleared").unwrap();
    assert_eq!(
        told["message"],
        format!("{queue} was cleared by eva: 4 scans were removed, {} to {late}.", ids[1])
    );
    // Once more is no change.
    let again = world.lab.clear_queue(&queue, cleared.order_version, None).unwrap();
    assert_eq!(again.order_version, cleared.order_version);
    world.tell(&format!("scan/{}", ids[0]), "stop", json!({}));
    world.until_queue(&queue, QueueState::Completed);
    // The same when the queue goes.
    world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2)], false, None).unwrap();
    world.lab.remove_queue(&queue).unwrap();
    assert!(world.lab.scan(&done).is_some() && world.lab.scan(&ids[0]).is_some());
    let world = world.restart();
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 2);
    world.end();
}
