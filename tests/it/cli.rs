//! The command line against the real binary and a running daemon.

use crate::harness::{Daemon, Options, telltale};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

fn url(daemon: &Daemon) -> String {
    format!("http://{}", daemon.addr)
}

#[test]
fn help_teaches() {
    let help = telltale(&["--help"]).run();
    assert_eq!(help.code, 0);
    for part in [
        "Examples:",
        "Environment:",
        "Exit codes:",
        "TELLTALE_LISTEN",
        "run",
        "check",
        "key",
        "publish",
        "tail",
        "status",
        "completions",
    ] {
        assert!(help.stdout.contains(part), "{part} is not in\n{}", help.stdout);
    }
    for subcommand in ["run", "check", "key", "publish", "tail", "status", "completions"] {
        let help = telltale(&[subcommand, "--help"]).run();
        assert_eq!(help.code, 0, "{subcommand}");
        assert!(
            help.stdout.contains("Usage: telltale ") && help.stdout.contains(subcommand),
            "{}",
            help.stdout
        );
        assert!(help.stdout.contains("Exit codes") || help.stdout.contains("Examples"), "{}", help.stdout);
    }
    let version = telltale(&["--version"]).run();
    assert_eq!(version.stdout.trim(), concat!("telltale ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_code_2() {
    for args in [
        &["rum"][..],
        &["run", "--port", "1"],
        &["tail", "--count", "x"],
        &["key", "make", "--role", "boss", "--name", "x"],
        &["publish"],
        &["status", "--url", "https://x"],
        &["publish", "{"],
        &["publish", "[1]"],
    ] {
        let done = telltale(args).run();
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}: {done:?}");
    }
    assert!(telltale(&["run", "--lisen", ":1"]).run().stderr.contains("--listen"));
}

/// Under the journal each line has its priority and no time of its own.
#[test]
fn the_journal_is_given_priorities() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let text = |stream: &str| {
        let file = std::fs::File::create(&path).unwrap();
        let status = telltale(&["run", "--listen", "nonsense"])
            .env("JOURNAL_STREAM", stream)
            .command()
            .stderr(file)
            .status();
        assert_eq!(status.unwrap().code(), Some(2));
        std::fs::read_to_string(&path).unwrap()
    };
    text("");
    let file = std::fs::metadata(&path).unwrap();
    let journal = text(&format!("{}:{}", file.dev(), file.ino()));
    assert!(journal.lines().count() >= 2 && journal.lines().all(|line| line.starts_with("<3>")), "{journal}");
    // Inherited from a parent whose output went there: ours does not.
    let other = text(&format!("{}:{}", file.dev(), file.ino() + 1));
    assert!(!other.contains("<3>") && other.contains("ERROR"), "{other}");
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = telltale(&["completions", shell]).run();
        assert_eq!(done.code, 0);
        assert!(
            done.stdout.len() > 1000 && done.stdout.contains("publish") && done.stdout.contains("listen"),
            "{shell}"
        );
    }
}

#[test]
fn the_list_of_keys_is_whole() {
    let done = telltale(&["check", "--keys"]).run();
    assert_eq!(done.code, 0);
    for part in ["TELLTALE_STORE_COMMIT", "[[gpio]]", "stable_for", "[[serial]]", "pattern"] {
        assert!(done.stdout.contains(part), "{part}");
    }
}

#[test]
fn a_taken_port_ends_with_code_3_and_names_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let done =
        telltale(&["run", "--no-bench", "--listen", &listen, "--data", dir.path().to_str().unwrap()]).run();
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stderr.contains(&listen) && done.stderr.contains("--listen"), "{done:?}");
}

#[test]
fn nobody_there_ends_with_code_3() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for args in [
        &["status", "--url", &free][..],
        &["tail", "--url", &free],
        &["publish", "--url", &free, "--topic", "app/x", "{}"],
    ] {
        let done = telltale(args).run();
        assert_eq!(done.code, 3, "{args:?}: {done:?}");
        assert!(done.stderr.contains("is telltale running?"), "{done:?}");
    }
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let made = telltale(&["key", "make", "--role", "publish", "--name", "vision box", "--data", data]).run();
    assert_eq!(made.code, 0, "{made:?}");
    let token = made.stdout.trim();
    assert!(token.len() > 30 && !token.contains(char::is_whitespace), "{made:?}");
    assert!(!made.stderr.contains(token));
    let list = telltale(&["key", "list"]).env("TELLTALE_DATA", data).run();
    assert!(
        list.stdout.contains("publish") && list.stdout.contains("vision box") && !list.stdout.contains(token),
        "{list:?}"
    );
    let id = list.stdout.split_whitespace().next().unwrap().to_string();
    assert_eq!(telltale(&["key", "revoke", &id, "--data", data]).run().code, 0);
    let again = telltale(&["key", "revoke", &id, "--data", data]).run();
    assert_eq!((again.code, again.stderr.contains("no key")), (1, true), "{again:?}");
    let nowhere = telltale(&["key", "list", "--data", "/nonexistent/x"]).run();
    assert_eq!((nowhere.code, nowhere.stderr.contains("--data")), (3, true), "{nowhere:?}");
}

#[test]
fn what_is_published_is_followed() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let begin = daemon.publish("app/a", r#"{"n":0}"#);
    let one = telltale(&["publish", "--url", &url, "--topic", "app/a", "--durable", r#"{"n":1}"#]).run();
    assert_eq!(one.code, 0, "{one:?}");
    let lines = "{\"n\":2}\n\n{\"type\":\"other\",\"topic\":\"app/a\",\"payload\":{\"n\":3}}\n{\"n\":4}\n";
    let many =
        telltale(&["publish", "--url", &url, "--topic", "app/a", "--type", "mine", "-"]).input(lines).run();
    assert_eq!(many.code, 0, "{many:?}");
    let tail =
        telltale(&["tail", "--url", &url, "--topics", "app/a", "--since", &begin, "--json", "--count", "4"])
            .run();
    assert_eq!(tail.code, 0, "{tail:?}");
    let events: Vec<serde_json::Value> =
        tail.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let seen: Vec<_> =
        events.iter().map(|e| (e["type"].as_str().unwrap(), e["payload"]["n"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("note", 1), ("mine", 2), ("other", 3), ("mine", 4)]);
    assert_eq!(events[0]["id"].as_str().unwrap(), one.stdout.trim());
    assert_eq!(events[3]["id"].as_str().unwrap(), many.stdout.trim());
    let human = telltale(&[
        "tail", "--url", &url, "--topics", "app/a", "--since", &begin, "--types", "other", "--count", "1",
    ])
    .run();
    assert!(human.stdout.contains(" app/a other n=3"), "{human:?}");
}

#[test]
fn a_refused_line_is_named_and_those_before_it_count() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let begin = daemon.publish("app/a", "{}");
    let bad = telltale(&["publish", "--url", &url, "--topic", "app/a", "-"])
        .input("{\"n\":1}\n{\"type\":\"x\",\"topic\":\"nope\",\"payload\":{}}\n{\"n\":3}\n")
        .run();
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stderr.contains("line 2") && bad.stderr.contains("topic"), "{bad:?}");
    let broken =
        telltale(&["publish", "--url", &url, "--topic", "app/a", "-"]).input("{\"n\":2}\nnonsense\n").run();
    assert_eq!((broken.code, broken.stderr.contains("line 2 is not JSON")), (2, true), "{broken:?}");
    let tail =
        telltale(&["tail", "--url", &url, "--topics", "app/a", "--since", &begin, "--count", "2"]).run();
    assert!(
        tail.stdout.contains("n=1") && tail.stdout.contains("n=2") && !tail.stdout.contains("n=3"),
        "{tail:?}"
    );
}

/// A tail that is running when the daemon is killed and started again sees every event once, in order.
#[test]
fn a_tail_goes_on_where_it_was_over_a_kill_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut daemon = Options::default().start_in(&data);
    let addr = daemon.addr.to_string();
    let begin = daemon.publish("app/a", r#"{"n":0}"#);
    let mut tail =
        telltale(&["tail", "--url", &addr, "--topics", "app/a", "--since", &begin, "--json", "--count", "4"])
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || {
        serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap()["payload"]["n"]
            .as_u64()
    };
    for n in 1..=2 {
        let sent = telltale(&[
            "publish",
            "--url",
            &addr,
            "--topic",
            "app/a",
            "--durable",
            &format!("{{\"n\":{n}}}"),
        ])
        .run();
        assert_eq!(sent.code, 0, "{sent:?}");
        assert_eq!(next(), Some(n));
    }
    daemon.kill();
    let daemon = Options::default().arg("--listen").arg(&addr).start_in(&data);
    for n in 3..=4 {
        daemon.publish("app/a", &format!("{{\"n\":{n}}}"));
    }
    assert_eq!((next(), next()), (Some(3), Some(4)));
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

/// Lines that come while the server is away are sent once it is back, each once.
#[test]
fn lines_published_over_a_restart_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut daemon = Options::default().start_in(&data);
    let addr = daemon.addr.to_string();
    let begin = daemon.publish("app/a", "{}");
    let mut publisher = telltale(&["publish", "--url", &addr, "--topic", "app/a", "--durable", "-"])
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = publisher.stdin.take().unwrap();
    stdin.write_all(b"{\"n\":1}\n").unwrap();
    let tail = |count: &str| {
        telltale(&[
            "tail", "--url", &addr, "--topics", "app/a", "--since", &begin, "--json", "--count", count,
        ])
        .run()
    };
    assert!(tail("1").stdout.contains("\"n\":1"));
    assert_eq!(daemon.stop(), 0);
    stdin.write_all(b"{\"n\":2}\n{\"n\":3}\n").unwrap();
    drop(stdin);
    let mut complaint = String::new();
    BufReader::new(publisher.stderr.take().unwrap()).read_line(&mut complaint).unwrap();
    assert!(complaint.contains("trying again"), "{complaint}");
    let _daemon = Options::default().arg("--listen").arg(&addr).start_in(&data);
    assert_eq!(publisher.wait().unwrap().code(), Some(0));
    let seen: Vec<u64> = tail("3")
        .stdout
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["payload"]["n"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn status_says_how_it_is() {
    let daemon = Options::default().config("name = \"van 3\"\n").start();
    let url = url(&daemon);
    let well = telltale(&["status", "--url", &url]).run();
    assert_eq!(well.code, 0, "{well:?}");
    assert!(well.stdout.starts_with("van 3 at http://"), "{well:?}");
    assert!(well.stdout.contains("ready        yes") && well.stdout.contains("none open"), "{well:?}");
    daemon.post(
        "/api/events",
        r#"{"type":"alert","payload":{"alert_id":"hot","occurrence":1,"severity":"MAJOR","state":"active",
        "message":"too hot","raised_at":"2026-01-07T15:30:00.000Z"}}"#,
    );
    let ill = telltale(&["status", "--url", &url]).run();
    assert_eq!((ill.code, ill.stdout.contains("MAJOR hot: too hot")), (1, true), "{ill:?}");
}
