//! Services, with a systemctl that is played by a script.

use crate::harness::{Daemon, Options, until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Keeps the state of each unit in a file of its name, and notes how it was called.
const SYSTEMCTL: &str = r#"#!/bin/sh
dir=$(dirname "$0")
printf '%s|' "$@" >> "$dir/calls"; echo >> "$dir/calls"
verb=$1
while [ "$1" != -- ]; do shift; done
shift
for unit in "$@"; do
  case $verb in
    show)
      echo "Id=$unit"
      if [ -f "$dir/$unit" ]; then cat "$dir/$unit"; else echo "LoadState=not-found"; echo "ActiveState=inactive"; fi
      echo ;;
    *)
      if [ -f "$dir/denied" ]; then echo "Failed to $verb $unit: Access denied" >&2; exit 4; fi
      if [ -f "$dir/ignored" ]; then exit 0; fi
      case $verb in
        stop) state=inactive ;;
        *) state=active ;;
      esac
      now=$(cut -d' ' -f1 /proc/uptime | tr -d .)0000
      if [ -f "$dir/breaks" ]; then state=failed; fi
      printf 'LoadState=loaded\nActiveState=%s\nSubState=running\nResult=exit-code\nDescription=Played\nNRestarts=0\nStateChangeTimestampMonotonic=%s\nActiveEnterTimestampMonotonic=%s\n' $state $now $now > "$dir/$unit.new"
      mv "$dir/$unit.new" "$dir/$unit" ;;
  esac
done
"#;

struct Played {
    dir: tempfile::TempDir,
}

impl Played {
    fn new() -> Played {
        let it = Played { dir: tempfile::tempdir().unwrap() };
        let program = it.program();
        std::fs::write(&program, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        it.set("a.service", "active", "running");
        it.set("b.service", "inactive", "dead");
        it
    }
    fn program(&self) -> PathBuf {
        self.dir.path().join("systemctl")
    }
    fn set(&self, unit: &str, active: &str, sub: &str) {
        let text = format!(
            "LoadState=loaded\nActiveState={active}\nSubState={sub}\nDescription=Played\nNRestarts=2\nStateChangeTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=1000000\n"
        );
        std::fs::write(self.dir.path().join(unit), text).unwrap();
    }
    fn mark(&self, name: &str) {
        std::fs::write(self.dir.path().join(name), "").unwrap();
    }
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }
    fn start(&self, program: &Path) -> Daemon {
        let config = "[[service]]\nname = \"a\"\nunit = \"a.service\"\ntitle = \"The recorder\"\ncan = [\"start\", \"stop\", \"restart\"]\n\
                      [[service]]\nname = \"b\"\nunit = \"b.service\"\ncan = [\"start\"]\n\
                      [[service]]\nname = \"c\"\nunit = \"c.timer\"\n";
        Options::default().config(config).env("TELLTALE_SYSTEMCTL", program.to_str().unwrap()).start()
    }
}

fn service(daemon: &Daemon, name: &str) -> Value {
    until("the service to be told", || {
        let answer = daemon.get(&format!("/api/services/{name}"));
        (answer.status == 200).then(|| answer.json())
    })
}

/// Commands, and waits for the end.
fn command(daemon: &Daemon, name: &str, action: &str) -> Value {
    let answer = daemon.post(&format!("/api/services/{name}/{action}"), "{}");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["command_id"].as_str().unwrap().to_string();
    until("the command to end", || {
        let result = daemon.get(&format!("/api/commands/{id}")).json();
        (result["state"] != "accepted").then_some(result)
    })
}

#[test]
fn services_are_shown_and_commanded_with_confirmed_effect() {
    let played = Played::new();
    let daemon = played.start(&played.program());
    let a = service(&daemon, "a");
    assert_eq!(
        (&a["status"], &a["description"], &a["unit"]),
        (&"active".into(), &"The recorder".into(), &"a.service".into())
    );
    assert_eq!((&a["restarts"], &a["can"]), (&2.into(), &serde_json::json!(["start", "stop", "restart"])));
    assert!(a["since"].is_string());
    assert_eq!(service(&daemon, "b")["description"], "Played");
    assert_eq!(service(&daemon, "c")["description"], "there is no unit c.timer");

    let done = command(&daemon, "a", "stop");
    assert_eq!((&done["state"], &done["status"]), (&"completed".into(), &"inactive".into()), "{done}");
    assert_eq!(service(&daemon, "a")["status"], "inactive");
    assert_eq!(daemon.post("/api/services/a/stop", "{}").status, 200, "so already");
    assert_eq!(command(&daemon, "a", "restart")["state"], "completed");
    assert_eq!(service(&daemon, "a")["status"], "active");
    let told = daemon.get("/api/events?topics=services&types=command_result&since=earliest").json();
    assert_eq!(told["events"].as_array().unwrap().len(), 2, "{told}");

    // Only what is allowed, and only what is on the list.
    let refused = daemon.post("/api/services/b/restart", "{}");
    assert_eq!((refused.status, refused.json()["actions"].clone()), (404, serde_json::json!(["start"])));
    assert_eq!(daemon.post("/api/services/c/start", "{}").status, 404);
    assert_eq!(daemon.post("/api/services/sshd/stop", "{}").status, 404);
    for call in played.calls() {
        let named: Vec<_> = call.split("|--|").nth(1).unwrap().split('|').filter(|u| !u.is_empty()).collect();
        assert!(named.iter().all(|unit| ["a.service", "b.service", "c.timer"].contains(unit)), "{call}");
        assert!(call.starts_with("show|") || call.contains("|--no-block|--no-ask-password|--|"), "{call}");
    }
}

#[test]
fn what_systemd_refuses_and_what_fails_is_told() {
    let played = Played::new();
    let daemon = played.start(&played.program());
    service(&daemon, "b");
    played.mark("denied");
    let denied = command(&daemon, "b", "start");
    assert_eq!(denied["state"], "failed");
    let reason = denied["reason"].as_str().unwrap();
    assert!(reason.contains("Access denied") && reason.contains("polkit"), "{reason}");
    std::fs::remove_file(played.dir.path().join("denied")).unwrap();
    played.mark("breaks");
    let failed = command(&daemon, "b", "start");
    assert_eq!((&failed["state"], &failed["status"]), (&"failed".into(), &"failed".into()));
    assert!(failed["reason"].as_str().unwrap().contains("exit-code"), "{failed}");
    std::fs::remove_file(played.dir.path().join("breaks")).unwrap();
    // No effect within ten seconds: not done, whatever systemctl said.
    played.mark("ignored");
    assert_eq!(command(&daemon, "a", "restart")["state"], "timed_out");
    std::fs::remove_file(played.dir.path().join("ignored")).unwrap();
    let done = until("the order to be forgotten", || {
        let done = command(&daemon, "a", "restart");
        (done["state"] != "rejected").then_some(done)
    });
    assert_eq!(done["state"], "completed");
}

#[test]
fn without_systemd_it_is_said() {
    let played = Played::new();
    let daemon = played.start(Path::new("/no/such/systemctl"));
    let source = until("the source to be told", || {
        let sources = daemon.get("/api/system").json()["sources"].clone();
        sources
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["source_id"] == "services" && s["status"] == "error")
            .cloned()
    });
    let error = source["last_error"].as_str().unwrap();
    assert!(error.contains("systemd"), "{error}");
    let failed = command(&daemon, "a", "restart");
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("failed to run systemctl"), "{failed}");
}

#[test]
fn nothing_runs_while_nothing_is_configured() {
    let played = Played::new();
    let daemon = Options::default().env("TELLTALE_SYSTEMCTL", played.program().to_str().unwrap()).start();
    let listed = daemon.get("/api/services").json();
    assert!(listed["items"].as_array().unwrap().is_empty());
    let names: Vec<String> = std::fs::read_dir(format!("/proc/{}/task", daemon.pid()))
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .collect();
    assert!(!names.iter().any(|name| name.trim() == "services"), "{names:?}");
    assert!(played.calls().is_empty());
}
