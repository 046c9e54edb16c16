//! The configuration as a whole: messages, precedence, the last good file, and what must hold for any text.

use super::file::read;
use super::keys::KEYS;
use super::lists::LISTS;
use super::value::{EDGES, FLOWS, PARITIES, PULLS, Type, Value};
use super::*;
use crate::model::Severity;
use proptest::prelude::*;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The faults of a text, as a person reads them.
fn faults(text: &str) -> Vec<String> {
    read(Path::new("t.toml"), text.as_bytes()).errors.iter().map(ToString::to_string).collect()
}

/// The settings of a text that has no faults.
fn good(text: &str) -> Config {
    let reading = read(Path::new("t.toml"), text.as_bytes());
    assert_eq!(reading.errors, [], "{text}");
    reading.config
}

const PIN: &str = "[[gpio]]\nid = \"door\"\npin = 17\nstream = \"door\"\n";
const PORT: &str =
    "[[serial]]\nid = \"psu\"\ndevice = \"/dev/ttyAMA0\"\nformat = \"json\"\ninstrument = \"psu\"\n";

/// One of each kind of rule, and receivers.
const ALERTS: &str = r#"
[[alert]]
id = "band"
value = "stream/hz"
above = 51
below = 49.5
major_above = 52.0
major_below = 48
hysteresis = 0.1
delay = "10s"
clear_delay = "5s"
count = 3
within = "2m"
stale_after = "1m"
severity = "MAJOR"
latched = false
name = "Mains"
message = "{name}: {value} {unit}"
guidance = "Shed load."
enabled = false
unless = ["source.hz"]

[[alert]]
id = "words"
value = "recorder/*/status"
is = ["fault", "offline"]

[[alert]]
id = "not"
value = "queue/Q/status"
is_not = ["running"]

[[alert]]
id = "old"
value = "instrument/psu/current"
stale = "30s"

[[alert]]
id = "none"
value = "source/gps"
absent = "1h"

[[alert]]
id = "collision"
value = "instrument/stage/x"
above = 50
and = [{ value = "instrument/stage/y", below = 5 }, { value = "instrument/door/level", is_not = ["on"] }]
blocks = ["instrument/stage", "gpio/heater", "queue/*"]
stops = ["instrument/stage"]
latch = true
unknown = "passes"

[[webhook]]
id = "desk"
url = "http://192.168.4.1:9000/hook?x=1"
method = "PUT"
headers = { Authorization = "Bearer x" }
body = '{"text":"{box}: {message}"}'
secret = "s3cret"
on = ["active", "acknowledged"]
severities = ["MAJOR"]
sources = ["source.*"]

[[ntfy]]
id = "phone"
server = "http://192.168.4.1:2586/"
topic = "van3"
token = "tk_1"
email = "a@example.org"
priorities = { MAJOR = "4" }
tags = ["van"]
"#;

#[test]
fn rules_and_receivers_are_read() {
    let config = good(ALERTS);
    let limits = AlertLimits {
        above: Some(51.0),
        below: Some(49.5),
        major_above: Some(52.0),
        major_below: Some(48.0),
    };
    assert_eq!(config.alert[0].test, AlertTest::Limits(limits));
    assert_eq!(config.alert[3].test, AlertTest::Stale(Duration::from_secs(30)));
    assert_eq!(config.alert[4].value.kind(), "source_status");
    let collision = &config.alert[5];
    let low = AlertLimits { below: Some(5.0), ..AlertLimits::default() };
    assert_eq!(collision.and[0].test, AlertTest::Limits(low));
    assert_eq!(collision.and[1].value.text(), "instrument/door/level");
    assert!(collision.latch && !collision.unknown_blocks && config.alert[0].unknown_blocks);
    assert_eq!(collision.blocks, ["instrument/stage", "gpio/heater", "queue/*"]);
    assert_eq!(config.ntfy[0].priorities["MINOR"], "3", "what is not said is as usual");
    assert_eq!(config.ntfy[0].server, "http://192.168.4.1:2586");
    let hook = &config.webhook[0].filter;
    assert!(
        hook.takes(Severity::Major, "source.psu", None)
            && !hook.takes(Severity::Major, "disk.root", Some("telltale"))
    );
    assert!(!hook.takes(Severity::Minor, "source.psu", None));
}

#[test]
fn wrong_rules_and_receivers_are_told() {
    let rule = "[[alert]]\nid = \"a\"\nvalue = \"stream/t\"\n";
    let hook = "[[webhook]]\nid = \"h\"\nurl = \"http://x/\"\n";
    for (text, fault) in [
        (rule.to_string(), "t.toml:1:1: [[alert]] does not say what must hold"),
        (
            format!("{rule}above = 5\nis = [\"x\"]\n"),
            "t.toml:5:6: `is` and `above` are set; expected limits, or one of the others",
        ),
        (format!("{rule}is = []\n"), "t.toml:4:6: `alert.is` is empty; expected at least one word"),
        (
            format!("{rule}above = 5\nmajor_above = 4\n"),
            "t.toml:5:15: `major_above` is 4 and `above` is 5; expected `major_above` to be the larger one",
        ),
        (
            format!("{rule}above = 1\nbelow = 2\n"),
            "`above` is 1 and `below` is 2; expected `above` to be the larger one",
        ),
        (
            format!("{rule}stale = \"5s\"\nhysteresis = 1\n"),
            "`hysteresis` is set, but it is only used with `above` or `below`",
        ),
        (format!("{rule}above = 1\nhysteresis = -1\n"), "`alert.hysteresis` is -1; expected 0 or more"),
        (
            rule.replace("stream/t", "weather/t") + "above = 1\n",
            "`alert.value` is \"weather/t\": \"weather\" is no kind",
        ),
        (
            format!("{rule}above = 1\nblocks = [\"stage\"]\n"),
            "`alert.blocks` has \"stage\"; expected KIND/ID or KIND/*",
        ),
        (
            format!("{rule}above = 1\nstops = [\"scan/*\"]\n"),
            "`alert.stops` has \"scan/*\"; expected KIND/ID or KIND/*, KIND one of instrument, gpio, recorder",
        ),
        (format!("{rule}above = 1\nlatch = true\n"), "`latch` is set, but it is only used with `blocks`"),
        (
            format!("{rule}above = 1\nblocks = [\"scan/*\"]\nlatch = true\nlatched = false\n"),
            "`latch` is true and `latched` is false",
        ),
        (
            format!("{rule}above = 1\nand = [{{ value = \"stream/*\", above = 1 }}]\n"),
            "`alert.and.value` is \"stream/*\": expected no * here",
        ),
        (
            format!("{rule}above = 1\nand = [{{ value = \"stream/u\" }}]\n"),
            "an item of `alert.and` does not say one thing that must hold",
        ),
        (
            rule.replace("stream/t", "stream/*") + "above = 1\nand = [{ value = \"stream/u\", above = 1 }]\n",
            "`and` is set and `value` has a *",
        ),
        (format!("{rule}above = 1\n{rule}above = 2\n"), "alert id \"a\" is used twice, first in line 2"),
        (hook.replace("http://", "ftp://"), "`webhook.url` is \"ftp://x/\"; expected http://HOST"),
        (hook.replace("http://x", "http://me:pw@x"), "without a user name"),
        (
            format!("{hook}body = \"{{mesage}}\"\n"),
            "`webhook.body` has an unknown {mesage}; did you mean {message}?",
        ),
        (format!("{hook}headers = {{ \"a b\" = \"c\" }}\n"), "which can't be sent"),
        (format!("{hook}on = [\"always\"]\n"), "`webhook.on` has \"always\""),
        (format!("{hook}severities = [\"WORST\"]\n"), "expected of MINOR, MAJOR, INVALID"),
        (format!("{hook}[[ntfy]]\nid = \"h\"\nserver = \"http://x\"\ntopic = \"t\"\n"), "is used twice"),
        ("[[ntfy]]\nid = \"n\"\nserver = \"http://x\"\ntopic = \"a/b\"\n".into(), "`ntfy.topic` is \"a/b\""),
        (
            "[[ntfy]]\nid = \"n\"\nserver = \"http://x\"\ntopic = \"a\"\npriorities = { MAJOR = \"9\" }\n"
                .into(),
            "`ntfy.priorities` has MAJOR",
        ),
    ] {
        let said = faults(&text);
        assert!(said.len() == 1 && said[0].contains(fault), "{text}\n{said:?}");
    }
}

#[test]
fn a_whole_file_is_read() {
    let config = good(
        r#"
name = "van 3"
listen = ":8081"
data = "/var/lib/telltale"
bench = true
bench_seed = 7

[http]
hosts = ["van3.example"]

[store]
commit = "250ms"
cache = "8MiB"
keep = "1GB"
keep_age = "30d"

[[gpio]]
id = "tape"
pin = 17
pull = "up"
active_low = true
stable_for = "20ms"
recorder = "deck"
active = "recording"
inactive = "idle"

[[serial]]
id = "meter"
device = "/dev/ttyUSB0"
baud = 115200
parity = "even"
format = "csv"
separator = ";"
instrument = "dmm"
map = [{ from = "1", to = "volts", unit = "V", scale = 2, offset = -0.5, words = { OL = "overload" } }]
"#,
    );
    assert_eq!(config.name, "van 3");
    assert_eq!(config.listen, ([0, 0, 0, 0], 8081).into());
    assert_eq!(config.store.commit, Duration::from_millis(250));
    assert_eq!(config.store.cache_bytes, 8 << 20);
    assert_eq!(config.store.keep_bytes, 1_000_000_000);
    assert_eq!(config.store.keep_age, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.gpio[0].debounce, Debounce::StableFor(Duration::from_millis(20)));
    assert_eq!(config.gpio[0].sink, Some(Sink::Recorder("deck".into())));
    let port = &config.serial[0];
    let ProtocolConfig::Line(line) = &port.protocol else { panic!("{port:?}") };
    assert_eq!(
        (port.baud, port.parity, &line.format),
        (115_200, Parity::Even, &LineFormat::Csv { separator: ';' })
    );
    assert_eq!((line.map[0].scale, line.map[0].offset), (2.0, -0.5));
    assert_eq!(line.map[0].words["OL"], "overload");
}

#[test]
fn every_fault_is_named_with_its_place_in_the_order_of_the_file() {
    let text = "nam = \"x\"\nlisten = 8080\n[store]\ncommit = \"soon\"\nkeep = 5\ncolour = 1\n[[gpio]]\nid = \"a b\"\npin = 64\n";
    assert_eq!(
        faults(text),
        [
            "t.toml:1:1: unknown key `nam`; did you mean `name`?",
            "t.toml:2:10: `listen` is 8080, a whole number; expected an address and a port in quotes, such as \"0.0.0.0:8080\", \"[::]:8080\" or \":8080\"",
            "t.toml:4:10: `store.commit` is \"soon\"; expected a duration in quotes from 10ms to 1m, such as \"2s\"",
            "t.toml:5:8: `store.keep` is 5, a whole number; expected a size in quotes from 1MiB to 1TiB, such as \"4MiB\"",
            "t.toml:6:1: unknown key `colour` in [store]; expected one of commit, state_commit, cache, keep, keep_age",
            "t.toml:7:1: [[gpio]] does not say what it becomes; expected exactly one of `recorder`, `instrument`, `stream`, `topic`",
            "t.toml:8:6: `gpio.id` is \"a b\"; expected an id in quotes: 1 to 64 characters of A-Z a-z 0-9 _ . : -",
            "t.toml:9:7: `gpio.pin` is 64, a whole number; expected a whole number from 0 to 63",
        ]
    );
}

/// Each text has exactly one fault; its message has each of the parts.
#[test]
fn what_is_wrong_is_said() {
    let pin = |more: &str| format!("{PIN}{more}");
    let port = |more: &str| format!("{PORT}{more}");
    let cases: Vec<(String, &[&str])> = vec![
        ("bench = \"yes\"".into(), &["1:9", "\"yes\"", "true or false"]),
        ("commit = \"1s\"".into(), &["unknown key `commit`", "belongs in [store]"]),
        ("[store]\nbench = true".into(), &["2:1", "belongs above the first [table]"]),
        ("[stroe]\ncommit = \"1s\"".into(), &["did you mean `store`?"]),
        ("store = 1".into(), &["`store` is 1, a whole number", "[store]"]),
        ("[[store]]\ncommit = \"1s\"".into(), &["`store` is a list of 1", "expected a table"]),
        ("[gpio]\npin = 1".into(), &["`gpio` is a table", "[[gpio]]"]),
        ("gpio = [1]".into(), &["1:9", "an item of `gpio` is 1"]),
        ("name = \"\"".into(), &["1 to 64 bytes"]),
        ("name = 2026-01-01".into(), &["2026-01-01, a date"]),
        ("bench_seed = -1".into(), &["-1, a whole number", "a whole number from 0"]),
        ("bench_seed = 99999999999999999999".into(), &["99999999999999999999"]),
        ("[[service]]\nname = \"a\"\nunit = \"-H evil.service\"".into(), &["the name of one unit"]),
        ("[[service]]\nname = \"a\"\nunit = \"a.service\"\ncan = [\"kill\"]".into(), &["some of \"start\", \"stop\", \"restart\""]),
        (
            "[[service]]\nname = \"a\"\nunit = \"a.service\"\n[[service]]\nname = \"a\"\nunit = \"b.service\"".into(),
            &["service \"a\" is there twice, first in line 2"],
        ),
        ("[http]\nhosts = [1]".into(), &["a list of 1", "a list of texts"]),
        ("[time]\nfrom = [\"gps\", \"moon\"]".into(), &["some of \"gps\""]),
        ("[http]\nhosts = [\"\"]".into(), &["without empty items"]),
        ("[store]\nkeep = \"5M\"".into(), &["\"5M\"", "MiB"]),
        ("[store]\nkeep_age = \"1s\"".into(), &["\"1s\"", "never"]),
        ("[store]\ncommit = \"2h\"".into(), &["from 10ms to 1m"]),
        (pin("pull = \"upp\"\n"), &["5:8", "\"off\", \"up\", \"down\"", "did you mean \"up\"?"]),
        (pin("recorder = \"r\"\n"), &["`recorder` and `stream` are set", "exactly one"]),
        (pin("active = \"on\"\n"), &["`active` is set", "only used with `recorder` or `instrument`"]),
        (pin("stable_for = \"1ms\"\nignore_after = \"1ms\"\n"), &["6:16", "one of them"]),
        (pin("topics = \"app/x\"\n"), &["unknown key `topics` in [gpio]", "did you mean `topic`?"]),
        (format!("{PIN}{}", PIN.replace("17", "18")), &["6:6", "source id \"door\" is used twice", "line 2"]),
        (
            format!("{PIN}{}", PIN.replace("id = \"door\"", "id = \"b\"")),
            &["7:7", "pin 17 is used twice", "line 3"],
        ),
        (
            format!("{PIN}{}", PORT.replace("\"psu\"\ndev", "\"door\"\ndev")),
            &["source id \"door\" is used twice"],
        ),
        (
            format!("{PORT}{}", PORT.replace("id = \"psu\"", "id = \"b\"")),
            &["device \"/dev/ttyAMA0\" is used twice"],
        ),
        (
            PIN.replace("stream = \"door\"", "recorder = \"r\"\nactive = \"recordin\""),
            &["5:10", "did you mean \"recording\"?"],
        ),
        (PIN.replace("stream = \"door\"", "topic = \"scan/x\""), &["topic under app/"]),
        (pin("edges = \"count\"\n"), &["`edges` is set", "only used with `topic`"]),
        (pin("safe = \"low\"\n"), &["`safe` is set", "direction = \"output\""]),
        (pin("message = \"x\"\n"), &["`message` is set", "with `alert`"]),
        (pin("alert = \"MAJOR\"\n"), &["lacks `message`"]),
        (pin("direction = \"output\"\npull = \"up\"\n"), &["`pull` is set", "direction = \"input\""]),
        (
            format!(
                "{}direction = \"output\"\n{PORT}",
                PIN.replace("stream = \"door\"", "instrument = \"psu\"")
            ),
            &["4:14", "the instrument \"psu\" is served by the port \"psu\""],
        ),
        (
            format!("{PIN}[[recorder]]\nid = \"r\"\nstart = {{ pin = \"door\", pulse = \"1s\" }}\n"),
            &["7:9", "`pin` names \"door\"", "direction = \"output\""],
        ),
        (
            "[[recorder]]\nid = \"r\"\nstop = { serial = \"nope\", send = \"S\" }\n".into(),
            &["3:8", "`serial` names \"nope\"", "[[serial]]"],
        ),
        (
            "[[recorder]]\nid = \"r\"\nsplit = { url = \"ftp://x\" }\n".into(),
            &["`recorder.split`", "http://"],
        ),
        ("[[recorder]]\nid = \"r\"\nstart = \"REC\"\n".into(), &["3:9", "a table of texts: { pin"]),
        (
            "[[recorder]]\nid = \"r\"\n[[recorder]]\nid = \"r\"\n".into(),
            &["4:6", "recorder \"r\" is there twice"],
        ),
        (port("baud = 49\n"), &["49", "from 50 to 4000000"]),
        (port("flow = \"rts\"\n"), &["\"rts\"", "\"hardware\""]),
        (port("protocol = \"lines\"\n"), &["\"lines\"", "did you mean \"line\"?"]),
        (PORT.replace("format = \"json\"\n", ""), &["[[serial]] lacks `format`"]),
        (PORT.replace("device = \"/dev/ttyAMA0\"\n", ""), &["lacks `device`", "device, usb, replay"]),
        (port("usb = \"0403:6001\"\n"), &["`device` and `usb` are set"]),
        (
            PORT.replace("device = \"/dev/ttyAMA0\"", "usb = \"403:6001\""),
            &["\"403:6001\"", "as lsusb shows them"],
        ),
        (port("replay_rate = 10\n"), &["only used with `replay`"]),
        (
            PORT.replace("device = \"/dev/ttyAMA0\"", "replay = \"x\"\nreplay_rate = -1"),
            &["4:15", "`serial.replay_rate` is -1", "0 to 1000"],
        ),
        (
            format!(
                "{PORT}capture = \"c\"\n{}capture = \"c\"\n",
                PORT.replace("\"psu\"\ndev", "\"b\"\ndev").replace("ttyAMA0", "ttyAMA1")
            ),
            &["capture \"c\" is used twice"],
        ),
        (port("capture_limit = \"1MiB\"\n"), &["only used with `capture`"]),
        (port("separator = \";\"\n"), &["only used with format = \"csv\""]),
        (PORT.replace("\"json\"", "\"csv\"\nseparator = \"ab\""), &["\"ab\"", "one character"]),
        (PORT.replace("\"json\"", "\"regex\""), &["lacks `pattern`"]),
        (PORT.replace("\"json\"", "\"regex\"\npattern = '('"), &["a regular expression, but"]),
        (PORT.replace("\"json\"", "\"regex\"\npattern = 'x'"), &["at least one named group"]),
        (
            PORT.replace(
                "\"json\"",
                "\"regex\"\npattern = '(?<temp>x)'\nmap = [{ from = \"tmp\", to = \"t\" }]",
            ),
            &["no group \"tmp\"", "did you mean \"temp\"?"],
        ),
        (PORT.replace("\"json\"", "\"csv\"\nmap = [{ from = \"a\", to = \"t\" }]"), &["number of a column"]),
        (port("map = [{ from = \"a\" }]\n"), &["lacks `to`"]),
        (
            port("map = [{ from = \"a\", to = \"b\" }, { from = \"c\", to = \"b\" }]\n"),
            &["two mappings give \"b\""],
        ),
        (port("map = [{ from = \"a\", to = \"b\", scale = nan }]\n"), &["`serial.map.scale` is nan"]),
        (port("map = [1]\n"), &["an item of `serial.map` is 1"]),
        (port("map = { from = \"a\" }\n"), &["`serial.map` is a table"]),
        (
            PORT.replace("instrument", "recorder") + "map = [{ from = \"a\", to = \"level\" }]\n",
            &["no member \"level\""],
        ),
        (
            PORT.replace("instrument", "recorder")
                + "map = [{ from = \"a\", to = \"status\", words = { R = \"rec\" } }]\n",
            &["no state of a recorder"],
        ),
        ("name = \"a\"\nname = \"b\"".into(), &["2:1", "duplicate key"]),
        (" \n\t\n".into(), &["empty"]),
    ];
    for (text, parts) in cases {
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{text}\n{found:#?}");
        for part in parts {
            assert!(found[0].contains(part), "{part:?} is not in {:?}", found[0]);
        }
    }
}

/// The parser recovers from a fault of syntax by guessing; what follows from its guess must not be reported.
#[test]
fn faults_of_syntax_are_all_reported_and_bring_no_false_ones() {
    let text = format!(
        "name = \"a\nlisten = ]\n{PIN}pul = \"up\"\n{}",
        PORT.replace("instrument = \"psu\"", "instrument = \"psu")
    );
    let found = faults(&text);
    for (line, part) in [(1, ""), (2, ""), (7, "did you mean `pull`?"), (12, "")] {
        assert!(
            found.iter().any(|f| f.starts_with(&format!("t.toml:{line}:")) && f.contains(part)),
            "line {line}: {found:#?}"
        );
    }
    assert!(
        found.iter().all(|f| [1, 2, 7, 12].iter().any(|line| f.starts_with(&format!("t.toml:{line}:")))),
        "{found:#?}"
    );
    let found = faults("[store\ncommit = \"1s\"\nkeep = \"5GB\"\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("t.toml:1:"), "{found:#?}");
}

#[test]
fn a_file_that_is_not_text_is_said_to_be_so() {
    let found = read(Path::new("t.toml"), b"name = \"a\"\nx = \xFF").errors;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "t.toml:2:5: the file is not UTF-8 text from here on; was it cut or damaged?"
    );
}

#[test]
fn a_flood_of_faults_is_counted() {
    let text: String = (0..500).map(|i| format!("zz{i} = 1\n")).collect();
    let found = faults(&text);
    assert_eq!(found.len(), 101);
    assert!(found[100].contains("400 more"), "{}", found[100]);
}

// ---- what wins ----

fn overrides(file: Option<&Path>, env: &[(&str, &str)]) -> Overrides {
    let env = env.iter().map(|(k, v)| (k.to_string(), OsString::from(v))).collect();
    Overrides { flags: Flags { config: file.map(Path::to_path_buf), ..Flags::default() }, env }
}

fn written(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("t.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "name = \"file\"\nlisten = \"127.0.0.1:1\"\n[store]\ncommit = \"2s\"\n");
    let mut over = overrides(
        None,
        &[
            ("TELLTALE_CONFIG", file.to_str().unwrap()),
            ("TELLTALE_LISTEN", "127.0.0.1:2"),
            ("TELLTALE_DATA", "/var/a"),
            ("TELLTALE_STORE_COMMIT", "3s"),
            ("TELLTALE_HTTP_HOSTS", "a.example, b.example"),
            ("TELLTALE_PUSH_HEARTBEAT", ""),
        ],
    );
    let config = load(&over).unwrap().config;
    assert_eq!(config.name, "file");
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.store.commit, Duration::from_secs(3));
    assert_eq!(config.http.hosts, ["a.example", "b.example"]);
    assert_eq!(config.push.heartbeat, Config::default().push.heartbeat);
    over.flags.listen = Some(":3".into());
    over.flags.data = Some("/var/b".into());
    let config = load(&over).unwrap().config;
    assert_eq!(config.listen, ([0, 0, 0, 0], 3).into());
    assert_eq!(config.data, Path::new("/var/b"));
}

#[test]
fn the_bench_runs_without_a_file_unless_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let bench = |over: &Overrides| load(over).unwrap().config.bench;
    assert!(bench(&overrides(None, &[])));
    assert!(!bench(&overrides(None, &[("TELLTALE_BENCH", "false")])));
    let file = written(dir.path(), "# nothing set\n");
    assert!(!bench(&overrides(Some(&file), &[])));
    assert!(bench(&overrides(Some(&file), &[("TELLTALE_BENCH", "on")])));
    written(dir.path(), "bench = true\n");
    let mut over = overrides(Some(&file), &[]);
    assert!(bench(&over));
    over.flags.no_bench = true;
    assert!(!bench(&over));
}

#[test]
fn faults_of_file_environment_and_flags_come_in_one_list() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "nam = 1\n");
    let mut over =
        overrides(Some(&file), &[("TELLTALE_STORE_COMMIT", "soon"), ("TELLTALE_PUSH_THREADS", "0")]);
    over.flags.listen = Some("8080".into());
    let found: Vec<String> = load(&over).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("t.toml:1:1"), "{found:#?}");
    assert!(
        found[1].starts_with("TELLTALE_STORE_COMMIT: it is \"soon\"; expected a duration from"),
        "{found:#?}"
    );
    assert!(
        found[2].starts_with("TELLTALE_PUSH_THREADS: it is \"0\"; expected a whole number"),
        "{found:#?}"
    );
    assert!(found[3].starts_with("--listen: it is \"8080\"; expected an address and a port"), "{found:#?}");
}

#[test]
fn a_misspelt_variable_is_warned_of() {
    let loaded = load(&overrides(None, &[("TELLTALE_STORE_COMIT", "1s"), ("TELLTALE_KEY", "x")])).unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "the environment variable TELLTALE_STORE_COMIT means nothing to telltale; did you mean TELLTALE_STORE_COMMIT?"
        ]
    );
}

#[test]
fn every_key_has_its_own_variable_that_sets_it() {
    let mut seen = std::collections::BTreeSet::new();
    for key in KEYS {
        assert!(seen.insert(key.variable()), "{} twice", key.variable());
        let text = match (key.kind, (key.get)(&Config::default())) {
            (Type::Switch, Value::Switch(on)) => (!on).to_string(),
            (Type::Whole(_, to), _) => to.to_string(),
            (Type::Duration(_, to) | Type::DurationOrNever(_, to), _) => {
                humantime::format_duration(to).to_string()
            }
            (Type::Size(from, _), _) => format!("{from}B"),
            (Type::Share, _) => "7%".into(),
            (Type::Id, _) => "else".into(),
            (Type::Address, _) => "10.0.0.1:99".into(),
            (Type::SomeOf(all), _) => all.join(","),
            (Type::Between(_, to), _) => to.to_string(),
            (Type::Ids, _) => "else".into(),
            (Type::Text(_) | Type::Path | Type::Paths | Type::Names, _) => "/else".into(),
            other => panic!("{}: how is {other:?} tried?", key.path()),
        };
        let mut config = Config { bench: true, ..Config::default() };
        let before = (key.get)(&config);
        (key.set)(&mut config, key.kind.read_text(&text).unwrap());
        let loaded = load(&overrides(None, &[(&key.variable(), &text)])).unwrap().config;
        assert_eq!(
            (key.get)(&loaded),
            if key.name == "bench" { Value::Switch(true) } else { (key.get)(&config) },
            "{}",
            key.path()
        );
        assert!(key.name == "bench" || (key.get)(&config) != before, "{} did not change", key.path());
    }
}

// ---- last good ----

#[test]
fn a_broken_file_falls_back_to_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = written(dir.path(), "name = \"good\"\nlisten = \"127.0.0.1:1\"\n");
    let mut over = overrides(Some(&file), &[]);
    over.flags.data = Some(data.clone());
    let loaded = load(&over).unwrap();
    loaded.keep_as_last_good().unwrap();
    assert_eq!(
        std::fs::read_to_string(data.join(LAST_GOOD)).unwrap(),
        "name = \"good\"\nlisten = \"127.0.0.1:1\"\n"
    );

    for broken in ["name = \"bad", "nam = 1", "\0\0\0\0", ""] {
        written(dir.path(), broken);
        let loaded = load(&over).unwrap();
        assert_eq!(loaded.config.name, "good", "{broken:?}");
        assert_eq!(loaded.config.data, data);
        let faults = loaded.fallback.clone().unwrap();
        assert!(faults[0].to_string().contains("t.toml"), "{faults:?}");
        // What is in use is a copy already: the broken text must not replace it.
        loaded.keep_as_last_good().unwrap();
        assert!(check(&over).is_err());
    }
    // Faults around the file are told, not papered over.
    over.flags.listen = Some("nonsense".into());
    assert!(load(&over).is_err());
    over.flags.listen = None;
    // A file that is not there is a wrong path, not a broken file.
    std::fs::remove_file(&file).unwrap();
    let found = load(&over).unwrap_err();
    assert!(found[0].to_string().contains("is the path right?"), "{found:?}");
    // Repaired: nothing to fall back from.
    written(dir.path(), "name = \"new\"\n");
    let loaded = load(&over).unwrap();
    assert_eq!((loaded.config.name.as_str(), &loaded.fallback), ("new", &None));
}

#[test]
fn without_a_last_good_file_the_faults_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "nam = 1\nlissten = 2\n");
    let mut over = overrides(Some(&file), &[]);
    over.flags.data = Some(dir.path().join("data"));
    assert_eq!(load(&over).unwrap_err().len(), 2);
}

#[test]
fn the_data_folder_of_a_broken_file_is_where_the_last_good_one_is_sought() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join(LAST_GOOD), "name = \"kept\"\n").unwrap();
    let file = written(dir.path(), &format!("data = {data:?}\nname = 5\n"));
    let loaded = load(&overrides(Some(&file), &[])).unwrap();
    assert_eq!((loaded.config.name.as_str(), &loaded.config.data), ("kept", &data));
}

#[test]
fn a_reload_gives_the_new_settings_or_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "name = \"one\"\n");
    let mut over = overrides(Some(&file), &[]);
    over.flags.data = Some(dir.path().join("data"));
    over.flags.listen = Some("127.0.0.1:7".into());
    let loaded = load(&over).unwrap();
    written(dir.path(), "name = \"two\"\nlisten = \"127.0.0.1:8\"\n");
    let loaded = loaded.reload().unwrap();
    assert_eq!((loaded.config.name.as_str(), loaded.config.listen.port()), ("two", 7));
    assert!(std::fs::read_to_string(dir.path().join("data").join(LAST_GOOD)).unwrap().contains("two"));
    written(dir.path(), "name = 1\nbenhc = true\n");
    assert_eq!(loaded.reload().unwrap_err().len(), 2);
    assert!(std::fs::read_to_string(dir.path().join("data").join(LAST_GOOD)).unwrap().contains("two"));
}

// ---- what must hold for any text ----

/// Words that valid files are made of, so that random texts come near to being valid.
fn word() -> impl Strategy<Value = String> {
    let keys: Vec<String> = KEYS
        .iter()
        .map(|k| k.name)
        .chain(LISTS.iter().flat_map(|l| (l.keys)()).map(|(_, name)| name))
        .map(str::to_string)
        .collect();
    let rest = [
        "\n",
        "\n",
        "=",
        "=",
        " = ",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        ".",
        "\"",
        "'",
        "\"\"\"",
        "#",
        "\\u00e9",
        "1",
        "-1",
        "0x10",
        "1e400",
        "nan",
        "inf",
        "true",
        "false",
        "1979-05-27",
        "\"1s\"",
        "\"4MiB\"",
        "\":80\"",
        "\"a\"",
        "[store]\n",
        "[http]\n",
        "[[gpio]]\n",
        "[[serial]]\n",
        "map = [{",
        "}]\n",
        "\"(?<a>x)\"",
        "\"regex\"",
        "\"csv\"",
        "\0",
        "\r\n",
        "\u{FEFF}",
        "é",
    ];
    let all: Vec<String> = keys.into_iter().chain(rest.map(str::to_string)).collect();
    proptest::sample::select(all)
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(Path::new("t.toml"), &bytes);
    }

    #[test]
    fn any_text_near_a_valid_one_gives_places_inside_it(words in proptest::collection::vec(word(), 0..60)) {
        let text = words.concat();
        let reading = read(Path::new("t.toml"), text.as_bytes());
        let lines = text.split('\n').count();
        for error in &reading.errors {
            if let Place::File { line, column, .. } = error.place {
                prop_assert!((1..=lines).contains(&line), "{error} in {text:?}");
                let width = text.split('\n').nth(line - 1).unwrap().chars().count();
                prop_assert!((1..=width + 1).contains(&column), "{error} in {text:?}");
            }
            prop_assert!(!error.detail.contains('\n') || error.detail.contains("regular expression"), "{error:?}");
        }
    }

    #[test]
    fn a_valid_file_with_one_byte_changed_is_read_without_panic(at in 0usize..1000, byte: u8) {
        let mut bytes = format!("{PIN}{PORT}map = [{{ from = \"a\", to = \"b\", words = {{ X = \"y\" }} }}]\n[store]\ncommit = \"1s\"\n").into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(Path::new("t.toml"), &bytes);
    }

    #[test]
    fn settings_written_as_a_file_are_read_back(config in any_config()) {
        let text = config.to_toml();
        let reading = read(Path::new("t.toml"), text.as_bytes());
        prop_assert_eq!(&reading.errors, &vec![], "{}", text);
        prop_assert_eq!(reading.config, config, "{}", text);
    }
}

#[test]
fn the_deepest_nesting_is_refused_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("x = {}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(!faults(&text).is_empty());
    }
}

fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:-]{1,64}"
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 1..8).prop_map(|chars| chars.into_iter().collect())
}

fn path() -> impl Strategy<Value = PathBuf> {
    text().prop_filter("no path has a NUL", |t| !t.contains('\0')).prop_map(PathBuf::from)
}

fn time(from_ms: u64, to_ms: u64) -> impl Strategy<Value = Duration> {
    (from_ms..=to_ms).prop_map(Duration::from_millis)
}

fn sink() -> impl Strategy<Value = Sink> {
    // Recorders limit what may be mapped; they are covered by the examples.
    prop_oneof![
        id().prop_map(Sink::Instrument),
        id().prop_map(Sink::Stream),
        id().prop_map(|i| Sink::Topic(format!("app/{i}")))
    ]
}

fn recordings() -> impl Strategy<Value = Recordings> {
    let optional_path = || proptest::option::of(path());
    let age = |from| proptest::option::of(time(from, 86_400_000_000));
    let share = prop_oneof![(0..=100u8).prop_map(Share::Percent), any::<u64>().prop_map(Share::Bytes)];
    let paths = (optional_path(), optional_path(), proptest::option::of("[a-z]{1,9}"), any::<(bool, bool)>());
    let sizes = (
        proptest::option::of((1u64 << 20)..=(1 << 50)),
        share,
        proptest::collection::vec("[a-z]{1,5}", 0..4),
    );
    let times =
        (time(1_000, 3_600_000), time(5_000, 86_400_000), time(1_000, 86_400_000), time(1_000, 3_600_000));
    (paths, sizes, times, age(60_000), age(86_400_000)).prop_map(
        |(paths, sizes, times, keep_age, bin_age)| Recordings {
            folder: paths.0,
            drop_folder: paths.1,
            recorder: paths.2,
            subfolders: paths.3.0,
            repair: paths.3.1,
            keep_bytes: sizes.0,
            free_floor: sizes.1,
            extensions: sizes.2,
            still_after: times.0,
            rescan: times.1,
            interval: times.2,
            drop_after: times.3,
            keep_age,
            bin_age,
        },
    )
}

fn any_config() -> impl Strategy<Value = Config> {
    let top = (
        text(),
        any::<std::net::SocketAddrV4>(),
        path(),
        proptest::option::of(path()),
        any::<bool>(),
        0..=i64::MAX as u64,
    );
    let http = (
        4usize..=16_384,
        1usize..=65_536,
        1usize..=16_384,
        proptest::collection::vec("[a-z.]{1,20}", 0..4),
        proptest::collection::vec("[a-z:/]{1,20}", 0..4),
    );
    let store = (
        time(10, 60_000),
        time(10, 3_600_000),
        (64usize << 10)..=(1024 << 20),
        (1u64 << 20)..=(1 << 40),
        proptest::option::of(time(60_000, 86_400_000_000)),
    );
    let rest = (
        any::<(bool, bool)>(),
        1usize..=16,
        time(100, 10_000),
        time(1_000, 3_600_000),
        time(500, 3_600_000),
        proptest::collection::vec(path(), 0..4),
    );
    let lists = (
        proptest::collection::vec(pin(), 0..5),
        proptest::collection::vec(port(), 0..5),
        proptest::collection::vec(recorder(), 0..3),
    );
    (top, http, store, rest, recordings(), lists).prop_map(
        |(top, http, store, rest, recordings, (mut gpio, mut serial, mut recorder))| {
            // Unique by construction: ids, pins and devices carry their number.
            for (i, pin) in gpio.iter_mut().enumerate() {
                pin.id = format!("g{i}");
                pin.pin = i as u8;
            }
            for (i, port) in serial.iter_mut().enumerate() {
                port.id = format!("s{i}");
                if let Device::Path(path) = &mut port.device {
                    path.push(format!("{i}"));
                }
                if let Some(capture) = &mut port.capture {
                    capture.file.push(format!("{i}"));
                }
                if let Device::Usb(rule) = &mut port.device {
                    rule.pid = i as u16;
                }
            }
            let with_alerts = if top.4 { good(ALERTS) } else { Config::default() };
            // An output has its instrument for itself, and a recorder is told by what there is.
            for (i, pin) in gpio.iter_mut().enumerate().filter(|(_, pin)| pin.output.is_some()) {
                if let Some(Sink::Instrument(id)) = &mut pin.sink {
                    *id = format!("out{i}");
                }
            }
            let output = gpio.iter().find(|pin| pin.output.is_some()).map(|pin| pin.id.clone());
            let first = serial.first().map(|port| port.id.clone());
            for (i, recorder) in recorder.iter_mut().enumerate() {
                recorder.id = format!("r{i}");
                for effect in
                    [&mut recorder.start, &mut recorder.stop, &mut recorder.split, &mut recorder.auto_on]
                {
                    let there = match effect {
                        Some(Effect::Level { pin, .. } | Effect::Pulse { pin, .. }) => {
                            output.as_ref().map(|id| pin.clone_from(id)).is_some()
                        }
                        Some(Effect::Serial { port, .. }) => {
                            first.as_ref().map(|id| port.clone_from(id)).is_some()
                        }
                        _ => true,
                    };
                    if !there {
                        *effect = None;
                    }
                }
            }
            Config {
                name: top.0,
                listen: top.1.into(),
                data: top.2,
                www: top.3,
                bench: top.4,
                bench_seed: top.5,
                http: Http {
                    connections: http.0,
                    streams: http.1,
                    per_address: http.2,
                    hosts: http.3,
                    origins: http.4,
                },
                recordings,
                lab: Lab { keep: store.3, keep_scans: 7, ..Lab::default() },
                access: Access { open_view: rest.0.0, trust_loopback: rest.0.1 },
                store: Store {
                    commit: store.0,
                    state_commit: store.1,
                    cache_bytes: store.2,
                    keep_bytes: store.3,
                    keep_age: store.4,
                },
                push: Push { threads: rest.1, heartbeat: rest.2, stall: rest.3 },
                // Every type of its keys has been made above.
                signals: Signals {
                    generate: vec!["alpha".into()],
                    live: top.4,
                    interval_s: 2.5,
                    ..Signals::default()
                },
                host: Host { interval: rest.4, disks: rest.5 },
                alerts: Alerts {
                    off: vec!["power.*".into()],
                    base_url: Some("http://a".into()),
                    memory: store.3,
                    ..Alerts::default()
                },
                time: Time { from: if top.4 { vec!["gps".into()] } else { Vec::new() } },
                gpio,
                serial,
                services: vec![Service {
                    name: "s".into(),
                    unit: "s.service".into(),
                    title: None,
                    can: if top.4 { vec!["restart".into()] } else { Vec::new() },
                }],
                recorder,
                streams: Vec::new(),
                alert: with_alerts.alert,
                webhook: with_alerts.webhook,
                ntfy: with_alerts.ntfy,
            }
        },
    )
}

fn recorder() -> impl Strategy<Value = Recorder> {
    let effect = prop_oneof![
        any::<bool>().prop_map(|active| Effect::Level { pin: String::new(), active }),
        time(1, 3_600_000).prop_map(|time| Effect::Pulse { pin: String::new(), time }),
        text().prop_map(|send| Effect::Serial { port: String::new(), send }),
        ("[a-z]{1,9}", proptest::sample::select(vec!["GET", "POST", "PUT"]), proptest::option::of(text()))
            .prop_map(|(host, method, body)| Effect::Http {
                url: format!("http://{host}/x?y=1"),
                method: method.into(),
                body: body.unwrap_or_default(),
            }),
    ];
    let effect = proptest::option::of(effect);
    let times = (time(100, 120_000), time(100, 86_400_000), proptest::option::of(time(1, 86_400_000)));
    (
        (effect.clone(), effect.clone(), effect.clone(), effect),
        times,
        any::<bool>(),
        proptest::option::of(text()),
        proptest::option::of("http://[a-z]{1,9}/".prop_map(String::from)),
    )
        .prop_map(|(effects, times, by_http, name, listen_url)| Recorder {
            id: String::new(),
            name,
            start: effects.0,
            stop: effects.1,
            split: effects.2,
            auto_on: effects.3,
            auto_off: None,
            confirm: if by_http { ConfirmBy::Http } else { ConfirmBy::Status },
            confirm_within: times.0,
            stale_after: times.1,
            split_after: times.2,
            listen_url,
        })
}

fn pin() -> impl Strategy<Value = GpioPin> {
    let debounce = prop_oneof![
        Just(Debounce::None),
        time(1, 60_000).prop_map(Debounce::StableFor),
        time(1, 60_000).prop_map(Debounce::IgnoreAfter)
    ];
    let pull = proptest::sample::select(vec![Pull::Off, Pull::Up, Pull::Down]);
    let edge = proptest::sample::select(vec![Edge::Rising, Edge::Falling, Edge::Both]);
    let measured = (
        proptest::sample::select(vec![Measure::Level, Measure::Count, Measure::Rate, Measure::Pulse]),
        time(100, 3_600_000),
        time(0, 3_600_000),
        any::<bool>(),
        10u32..=100_000,
    );
    let severity = proptest::sample::select(vec![Severity::Minor, Severity::Major, Severity::Invalid]);
    let alert = proptest::option::of((severity, text(), proptest::option::of(text())).prop_map(
        |(severity, message, guidance)| PinAlert {
            severity,
            message,
            guidance: guidance.unwrap_or_default(),
        },
    ));
    let drive = || proptest::sample::select(vec![Drive::Low, Drive::High, Drive::Keep]);
    let output = (drive(), drive(), time(1, 3_600_000));
    let input = (sink(), any::<bool>(), debounce, pull, edge, proptest::option::of(text()), measured, alert);
    let input = input.prop_map(|(sink, active_low, debounce, pull, edge, active, measured, alert)| {
        let has_value = matches!(sink, Sink::Instrument(_) | Sink::Stream(_));
        let counts = measured.3 && matches!(sink, Sink::Topic(_));
        GpioPin {
            pull,
            active_low,
            edge,
            debounce,
            active: active.filter(|_| matches!(sink, Sink::Instrument(_))),
            edges: if counts { EdgeRecords::Count } else { EdgeRecords::Each },
            value: if has_value { measured.0 } else { Measure::Level },
            window: measured.1,
            interval: measured.2,
            flood: measured.4,
            sink: Some(sink).filter(|_| alert.is_none() || measured.3 || has_value),
            alert,
            ..GpioPin::default()
        }
    });
    let output = (output, any::<bool>(), proptest::option::of(text()), 0u8..3).prop_map(
        |((initial, safe, pulse_max), active_low, active, sink)| GpioPin {
            output: Some(Output { initial, safe, pulse_max }),
            active_low,
            active: active.filter(|_| sink == 0),
            sink: [Some(Sink::Instrument("i".into())), Some(Sink::Stream("s".into())), None]
                [usize::from(sink)]
            .clone(),
            ..GpioPin::default()
        },
    );
    prop_oneof![3 => input, 1 => output]
}

fn port() -> impl Strategy<Value = SerialPort> {
    let format = prop_oneof![
        Just(LineFormat::Json),
        proptest::sample::select(vec![',', ';', '\t', ' ', '|', '\\'])
            .prop_map(|separator| LineFormat::Csv { separator }),
        Just(LineFormat::Regex(r#"^"(?<a>\d+)'\s(?<b>.)"#.into())),
    ];
    let mapping = (
        proptest::option::of(text()),
        -1e300f64..1e300,
        proptest::num::f64::NORMAL,
        proptest::collection::btree_map(text(), text(), 0..4),
    );
    let line = (
        16usize..=65_536,
        proptest::option::of(proptest::sample::select(vec![";", "\r\n", "\\"])),
        proptest::option::of(proptest::sample::select(vec!["#", "//"])),
        0u32..=1_000,
    );
    let serial = any::<u16>().prop_map(|n| format!("A{n}"));
    let rule = (any::<u16>(), proptest::option::of(serial), proptest::option::of(any::<u8>()));
    let device = prop_oneof![
        Just(Device::Path("/dev".into())),
        rule.prop_map(|(vid, serial, interface)| Device::Usb(UsbRule { vid, pid: 0, serial, interface })),
        (path(), 0.0..=1_000.0, any::<bool>()).prop_map(|(file, rate, again)| Device::Replay(Replay {
            file,
            rate,
            again
        })),
    ];
    let wire = (
        device,
        proptest::sample::select(vec![50u32, 9_600, 31_250, 4_000_000]),
        5u8..=8,
        1u8..=2,
        proptest::sample::select(vec![Parity::None, Parity::Even, Parity::Odd]),
        proptest::sample::select(vec![FlowControl::None, FlowControl::Software, FlowControl::Hardware]),
    );
    let capture = (path(), 65_536u64..1 << 40).prop_map(|(file, limit)| Capture { file, limit });
    let rest = (
        proptest::option::of(text()),
        time(100, 86_400_000),
        proptest::option::of(text()),
        any::<bool>(),
        1u32..=1_000_000,
        proptest::option::of(capture),
    );
    (format, sink(), proptest::collection::vec(mapping, 0..2), line, wire, rest).prop_map(
        |(format, sink, maps, line, wire, rest)| {
            let from = |i: usize| match &format {
                LineFormat::Csv { .. } => i.to_string(),
                _ => ["a", "b"][i].to_string(),
            };
            let map = maps.into_iter().enumerate().map(|(i, (unit, scale, offset, words))| Mapping {
                from: from(i),
                to: format!("to{i}"),
                unit,
                scale,
                offset,
                words,
            });
            let line = LineConfig {
                map: map.collect(),
                format: format.clone(),
                max_line: line.0,
                terminator: line.1.map(str::to_string),
                comment: line.2.map(str::to_string),
                skip_lines: line.3,
            };
            SerialPort {
                id: String::new(),
                device: wire.0,
                baud: wire.1,
                data_bits: wire.2,
                stop_bits: wire.3,
                parity: wire.4,
                flow: wire.5,
                protocol: ProtocolConfig::Line(line),
                sink,
                name: rest.0,
                stale_after: rest.1,
                hello: rest.2,
                alert: rest.3,
                max_rate: rest.4,
                capture: rest.5,
            }
        },
    )
}

// ---- documents ----

#[test]
fn the_default_text_of_a_key_is_its_default() {
    let text = keys_text();
    for part in [
        "TELLTALE_STORE_COMMIT",
        "default: \"1s\"",
        "default: \"4MiB\"",
        "default: \"512MiB\"",
        "[[serial]]",
        "takes effect at the next start",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert_eq!(good("# all defaults\n"), Config::default());
}

#[test]
fn words_of_choices_are_complete() {
    for (words, from) in [(PULLS, "pull"), (EDGES, "edge")] {
        for word in words {
            good(&format!("{PIN}{from} = \"{word}\"\n"));
        }
    }
    for (words, from) in [(PARITIES, "parity"), (FLOWS, "flow")] {
        for word in words {
            good(&format!("{PORT}{from} = \"{word}\"\n"));
        }
    }
}

/// docs/configuration.md has the tables of keys between two markers. After a change of a key: `TELLTALE_TEST_BLESS=1
/// cargo test --lib config` writes them anew.
#[test]
fn the_document_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys: begin -->\n", "<!-- keys: end -->");
    let from = text.find(begin).unwrap() + begin.len();
    let to = text.find(end).unwrap();
    if std::env::var_os("TELLTALE_TEST_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n{}\n{}", &text[..from], keys_markdown(), &text[to..])).unwrap();
        return;
    }
    assert_eq!(
        text[from..to].trim(),
        keys_markdown().trim(),
        "docs/configuration.md is not what the table of keys says"
    );
}

// ---- protocols of serial ports ----

const SPOKEN: &str = r#"
[[serial]]
id = "psu"
device = "/dev/ttyUSB0"
protocol = "scpi"
instrument = "psu"

[serial.scpi]
expect = "E36\\d+"
errors_every = 5
gap = "50ms"
channels = [
    { name = "volts", get = "MEAS:VOLT?", set = "VOLT {:.3}", unit = "V", min = 0, max = 6, tolerance = 0.01, poll = "500ms" },
    { name = "output", get = "OUTP?", set = "OUTP {}", words = { 1 = "on", 0 = "off" } },
]

[[serial]]
id = "gps"
device = "/dev/ttyAMA0"
protocol = "nmea"
topic = "app/gps"

[serial.nmea]
checksum = "optional"
values = ["lat", "lon"]

[[serial]]
id = "plain"
device = "/dev/ttyAMA1"
protocol = "nmea"
instrument = "gps2"

[[serial]]
id = "meter"
device = "/dev/ttyUSB1"
protocol = "modbus"
instrument = "meter"

[[serial.modbus.registers]]
name = "volts"
table = "input"
address = 0
type = "f32"
order = "CDAB"

[[serial.modbus.registers]]
name = "pump"
unit_id = 7
table = "coil"
address = 3
write = true

[[serial]]
id = "sensor"
device = "/dev/ttyUSB2"
format = "json"
stream = "t"
"#;

#[test]
fn protocols_are_read_and_written_again() {
    let config = good(SPOKEN);
    let [psu, gps, plain, meter, sensor] = &config.serial[..] else { panic!("{:?}", config.serial) };
    let ProtocolConfig::Scpi(scpi) = &psu.protocol else { panic!("{psu:?}") };
    assert_eq!((scpi.errors_every, scpi.gap, &*scpi.identify), (5, Duration::from_millis(50), "*IDN?"));
    assert_eq!((scpi.channels[0].max, scpi.channels[0].tolerance), (Some(6.0), Some(0.01)));
    assert_eq!(scpi.channels[0].poll, Some(Duration::from_millis(500)));
    assert_eq!(scpi.channels[1].words["1"], "on");
    let ProtocolConfig::Nmea(nmea) = &gps.protocol else { panic!("{gps:?}") };
    assert_eq!((&*nmea.checksum, nmea.max_sentence, nmea.values.len()), ("optional", 102, 2));
    assert_eq!(plain.protocol, ProtocolConfig::Nmea(super::Nmea::default()));
    let ProtocolConfig::Modbus(modbus) = &meter.protocol else { panic!("{meter:?}") };
    assert_eq!(modbus.registers[0].order, super::ModbusOrder::Cdab);
    assert_eq!((modbus.registers[1].kind, modbus.registers[1].unit_id), (super::ModbusKind::Bool, 7));
    assert!(matches!(sensor.protocol, ProtocolConfig::Line(_)));
    assert_eq!(good(&config.to_toml()), config, "{}", config.to_toml());
}

#[test]
fn faults_of_protocols_are_told_with_their_place() {
    let port = |protocol: &str, rest: &str| {
        format!(
            "[[serial]]\nid = \"p\"\ndevice = \"/dev/ttyUSB0\"\nprotocol = \"{protocol}\"\ninstrument = \"i\"\n{rest}"
        )
    };
    let scpi = |channel: &str| port("scpi", &format!("[serial.scpi]\nchannels = [\n{{ {channel} }}]\n"));
    let modbus =
        |register: &str| port("modbus", &format!("[serial.modbus]\nregisters = [\n{{ {register} }}]\n"));
    for (text, fault) in [
        (
            port("skpi", ""),
            "4:12: `serial.protocol` is \"skpi\"; expected one of \"line\", \"scpi\", \"nmea\", \"modbus\"; did you mean \"scpi\"?",
        ),
        (port("scpi", ""), "1:1: [[serial]] with protocol = \"scpi\" lacks [serial.scpi]"),
        (
            port("scpi", "format = \"json\"\n[serial.scpi]\nchannels = []\n"),
            "6:10: `format` is set, but it is only used with protocol = \"line\"; expected it to be left out",
        ),
        (
            port("nmea", "[serial.scpi]\nchannels = []\n"),
            "6:1: `scpi` is set, but it is only used with protocol = \"scpi\"; expected it to be left out",
        ),
        (
            port("scpi", "scpi = 5\n"),
            "6:8: `serial.scpi` is 5, a whole number; expected a table: [serial.scpi]",
        ),
        (
            port("scpi", "[serial.scpi]\ntimout = \"1s\"\nchannels = []\n"),
            "7:1: unknown key `timout` in [serial.scpi]; did you mean `timeout`?",
        ),
        (
            port("scpi", "[serial.scpi]\nexpect = \"(\"\nchannels = []\n"),
            "7:10: `expect` can't be used as a regular expression",
        ),
        (
            port("scpi", "[serial.scpi]\npoll = \"20s\"\nchannels = []\n"),
            "1:1: `stale_after` is 10s, but the device is asked every 20s; expected it to be longer",
        ),
        (scpi("name = \"v\""), ": a channel has neither `get` nor `set`; expected at least one of them"),
        (
            scpi("name = \"v\", set = \"VOLT\""),
            ": `set` is \"VOLT\", which has no {}; expected {} or {:.3} once, where the value stands",
        ),
        (
            scpi("name = \"v\", set = \"VOLT {:x}\""),
            ": `set` is \"VOLT {:x}\", which has {:x}; expected {} or {:.3} once, where the value stands",
        ),
        (
            scpi("name = \"v\", get = \"V?\", min = 1"),
            ": `min` is set, but it is only used with `set`; expected it to be left out",
        ),
        (
            scpi("name = \"v\", set = \"V {}\", min = 3, max = 1"),
            ": `max` is 1, but `min` is 3; expected `min` to be less",
        ),
        (scpi("name = \"v\", get = \"V?\", scale = 0"), ": `scale` is 0; expected another number"),
        (
            port("nmea", "[serial.nmea]\nvalues = [\"latitude\"]\n"),
            "7:10: there is no value \"latitude\"; did you mean \"altitude\"?",
        ),
        (port("modbus", "[serial.modbus]\npoll = \"1s\"\n"), "6:1: [serial.modbus] lacks `registers`"),
        (
            modbus("name = \"v\", table = \"holding\""),
            ": an item of `serial.modbus.registers` lacks `address`; expected a whole number from 0 to 65535",
        ),
        (
            modbus("name = \"v\", table = \"inputs\", address = 1"),
            ": `serial.modbus.registers.table` is \"inputs\"; expected one of \"holding\", \"input\", \"coil\", \"discrete\"; did you mean \"input\"?",
        ),
        (
            modbus("name = \"v\", table = \"input\", address = 1, write = true"),
            ": `write` is set, but a table input can't be written",
        ),
        (
            modbus("name = \"v\", table = \"coil\", address = 1, type = \"f32\""),
            ": a coil is one bit; expected type = \"bool\"",
        ),
        (
            modbus("name = \"v\", table = \"input\", address = 65535, type = \"f32\""),
            ": `address` is 65535, where the value goes past the last register",
        ),
        (
            modbus("name = \"v\", table = \"input\", address = 1, bit = 3"),
            ": `bit` is only used with type = \"bool\"",
        ),
        (
            modbus("name = \"v\", table = \"input\", address = 1, unit_id = 0"),
            ": `serial.modbus.registers.unit_id` is 0, a whole number; expected a whole number from 1 to 247",
        ),
    ] {
        let found = faults(&text);
        assert!(found.iter().any(|f| f.contains(fault)), "{text}\nhas {found:#?}\nexpected {fault}");
    }
    let twice = port(
        "modbus",
        "[serial.modbus]\nregisters = [{ name = \"a\", table = \"input\", address = 1 }, { name = \"a\", table = \"input\", address = 2 }]\n",
    );
    assert!(
        faults(&twice).iter().any(|f| f.contains("two registers are called \"a\"; expected each name once"))
    );
    let sink = SPOKEN.replacen("instrument = \"psu\"", "stream = \"psu\"", 1);
    assert!(faults(&sink)[0].contains("`stream` is set, but it is only used with another protocol"));
    let replay = SPOKEN.replacen("device = \"/dev/ttyUSB0\"", "replay = \"x\"", 1);
    assert!(
        faults(&replay)[0].contains(
            "`replay` is set, but it is only used with protocol = \"line\" or \"nmea\", which listen"
        )
    );
}
