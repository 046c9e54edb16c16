//! Configuration as the binary treats it: faults, examples, the last good file, the environment.

use crate::harness::{Options, telltale, until};
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_bad_file_ends_with_code_2_and_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    std::fs::write(
        &file,
        "nam = \"x\"\n[store]\ncommit = \"soon\"\n[[gpio]]\nid = \"a\"\npin = 99\nstream = \"s\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let data = dir.path().join("data");
    for args in
        [vec!["run", "--config", file, "--data", data.to_str().unwrap()], vec!["check", "--config", file]]
    {
        let done = telltale(&args).env("TELLTALE_PUSH_STALL", "never").run();
        assert_eq!(done.code, 2, "{done:?}");
        for part in [
            "t.toml:1:1: unknown key `nam`; did you mean `name`?",
            "t.toml:3:10: `store.commit` is \"soon\"",
            "t.toml:6:7: `gpio.pin` is 99",
            "TELLTALE_PUSH_STALL: it is \"never\"",
            "4 faults",
        ] {
            assert!(done.stderr.contains(part), "{part:?} is not in\n{}", done.stderr);
        }
        assert_eq!(done.stdout, "");
    }
    assert!(!data.exists(), "a configuration with faults must not make a data folder");
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            seen += 1;
            let done = telltale(&["check", "--config", path.to_str().unwrap()]).run();
            assert_eq!(done.code, 0, "{}: {done:?}", path.display());
            assert!(done.stdout.contains("no faults"), "{done:?}");
        }
    }
    assert!(
        seen >= 13,
        "gpio, serial-json, -csv, -regex, -usb, -replay, host, field-box, alerts, field-lab, and one for each protocol"
    );
}

#[test]
fn the_effective_settings_are_a_file_that_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let example = root().join("examples/field-box.toml");
    let first = telltale(&["check", "--effective", "--config", example.to_str().unwrap()])
        .env("TELLTALE_STORE_COMMIT", "3s")
        .run();
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("commit = \"3s\""), "{}", first.stdout);
    let file = dir.path().join("t.toml");
    std::fs::write(&file, &first.stdout).unwrap();
    let second = telltale(&["check", "--effective", "--config", file.to_str().unwrap()]).run();
    let settings =
        |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(settings(&first.stdout), settings(&second.stdout));
}

#[test]
fn a_file_that_breaks_is_replaced_by_the_last_good_one_and_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut daemon = Options::default().config("name = \"good one\"\n").start_in(&data);
    assert_eq!(std::fs::read_to_string(data.join("last-good.toml")).unwrap(), "name = \"good one\"\n");
    assert_eq!(daemon.stop(), 0);

    let mut daemon = Options::default().config("name = \"bro").start_in(&data);
    let state = daemon.get("/api/state?topics=global").json();
    let of = |kind: &str| {
        state["state"].as_array().unwrap().iter().find(|e| e["type"] == kind).map(|e| e["payload"].clone())
    };
    let alert = of("alert").unwrap();
    assert_eq!(
        (alert["alert_id"].as_str(), alert["state"].as_str()),
        (Some("config.fallback"), Some("active")),
        "{alert}"
    );
    assert_eq!(of("config_changed").unwrap()["name"], "good one");
    assert!(daemon.log().contains("test.toml:1:"), "{}", daemon.log());
    assert_eq!(std::fs::read_to_string(data.join("last-good.toml")).unwrap(), "name = \"good one\"\n");

    // Mended and reloaded: the alert ends, the new text is the last good one.
    std::fs::write(data.join("test.toml"), "name = \"mended\"\n").unwrap();
    let mut stream = daemon.stream("topics=global", None);
    daemon.signal("HUP");
    loop {
        let frame = stream.wait("alert");
        if frame.payload()["state"] == "cleared" {
            break;
        }
    }
    until("the copy to be kept", || {
        std::fs::read_to_string(data.join("last-good.toml")).ok().filter(|t| t.contains("mended"))
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_with_faults_changes_nothing_and_says_so() {
    let mut daemon = Options::default().config("name = \"one\"\n").start();
    let mut stream = daemon.stream("topics=system", None);
    std::fs::write(daemon.data.join("test.toml"), "name = 1\nbenhc = true\n").unwrap();
    daemon.signal("HUP");
    let refused = loop {
        let payload = stream.wait("config_changed").payload();
        if payload["applied"] == false {
            break payload;
        }
    };
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("test.toml:1:8") && error.contains("did you mean `bench`?"), "{error}");
    assert_eq!(refused["name"], "one");
    std::fs::write(daemon.data.join("test.toml"), "name = \"two\"\nlisten = \":1\"\n[push]\nthreads = 3\n")
        .unwrap();
    daemon.signal("HUP");
    let applied = stream.wait("config_changed").payload();
    assert_eq!(
        (applied["applied"].as_bool(), applied["name"].as_str()),
        (Some(true), Some("two")),
        "{applied}"
    );
    // The flag wins over the file, so only the threads wait for a restart.
    until("the log to say what waits", || daemon.log().contains("push.threads").then_some(()));
    assert!(!daemon.log().contains("listen has changed"), "{}", daemon.log());
    assert_eq!(daemon.stop(), 0);
}
