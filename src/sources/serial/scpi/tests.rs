//! Tests of the protocol: sessions with a supply that is played, golden captures, random bytes.
use super::super::script::{Replies, Rig, golden, ms};
use super::answers::*;
use super::drive::*;
use super::*;
use crate::sources::instruments::{Request, Setting};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A supply for the tests: what it is set to and asked for.
#[derive(Default)]
struct Supply {
    values: BTreeMap<String, String>,
    errors: Vec<String>,
    /// Asked and not answered.
    deaf: Vec<String>,
    idn: String,
}

impl Supply {
    fn new() -> Supply {
        let values = [("VOLT", "1.0000E+00"), ("CURR", "+5.0E-01"), ("OUTP", "0")];
        Supply {
            values: values.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            idn: "ACME,PS100,1234,1.0".into(),
            ..Supply::default()
        }
    }

    fn hear(&mut self, sent: &[u8]) -> Replies {
        let text = String::from_utf8(sent.to_vec()).unwrap();
        let text = text.strip_suffix('\n').expect("a line");
        if self.deaf.iter().any(|d| text.starts_with(d.as_str())) {
            return Vec::new();
        }
        let answer = match text {
            "*IDN?" => self.idn.clone(),
            "*CLS" => {
                self.errors.clear();
                return Vec::new();
            }
            "SYST:ERR?" => {
                if self.errors.is_empty() {
                    "0,\"No error\"".into()
                } else {
                    self.errors.remove(0)
                }
            }
            other => match other.strip_suffix('?') {
                Some(name) => match self.values.get(name) {
                    Some(value) => value.clone(),
                    None => {
                        self.errors.push("-113,\"Undefined header\"".into());
                        return Vec::new();
                    }
                },
                None => {
                    let (name, value) = other.split_once(' ').unwrap_or((other, ""));
                    if value.parse::<f64>().is_ok_and(|v| v > 30.0) {
                        self.errors.push("-222,\"Data out of range\"".into());
                    } else {
                        self.values.insert(name.into(), value.into());
                    }
                    return Vec::new();
                }
            },
        };
        vec![(ms(5), format!("{answer}\r\n").into_bytes())]
    }
}

fn channel(name: &str, get: &str) -> ScpiChannel {
    ScpiChannel { name: name.into(), get: Some(get.into()), ..ScpiChannel::default() }
}

fn supply_config() -> config::Scpi {
    let mut volts = channel("volts", "VOLT?");
    volts.unit = Some("V".into());
    volts.set = Some("VOLT {:.3}".into());
    (volts.min, volts.max) = (Some(0.0), Some(40.0));
    let mut output = channel("output", "OUTP?");
    output.set = Some("OUTP {}".into());
    output.words = [("1".to_string(), "on".to_string()), ("0".into(), "off".into())].into();
    config::Scpi { channels: vec![volts, channel("amps", "CURR?"), output], ..config::Scpi::default() }
}

fn rig(config: &config::Scpi, supply: &mut Supply) -> Rig<Scpi> {
    let mut rig = Rig::new(Scpi::new(config).unwrap());
    rig.open(&mut |sent| supply.hear(sent));
    rig
}

const QUIET: [&str; 3] = ["heard", "flush", "detail idn"];

#[test]
fn it_is_identified_and_polled() {
    let mut supply = Supply::new();
    let mut rig = rig(&supply_config(), &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    assert_eq!(
        rig.took(),
        [
            "flush",
            "send *IDN?\\n",
            "heard",
            "detail idn \"ACME,PS100,1234,1.0\"",
            "send VOLT?\\n",
            "readings volts=Number(1.0) V",
            "send CURR?\\n",
            "readings amps=Number(0.5)",
            "send OUTP?\\n",
            "readings output=Text(\"off\")",
        ]
    );
    rig.run(ms(10_000), &mut |s| supply.hear(s));
    let log = rig.took();
    assert_eq!(log.iter().filter(|l| *l == "send VOLT?\\n").count(), 10, "once a second");
    assert_eq!(log.iter().filter(|l| *l == "send SYST:ERR?\\n").count(), 1, "every ten rounds");
}

#[test]
fn a_set_is_checked_sent_and_read_back() {
    let mut supply = Supply::new();
    let mut rig = rig(&supply_config(), &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    rig.command("1", "set", json!({ "channel": "volts", "value": 41 }), &mut |s| supply.hear(s));
    rig.command("2", "set", json!({ "channel": "amps", "value": 1 }), &mut |s| supply.hear(s));
    rig.command("3", "set", json!({ "channel": "output", "value": "maybe" }), &mut |s| supply.hear(s));
    rig.command("4", "set", json!({ "channel": "volts", "value": "1; OUTP 1" }), &mut |s| supply.hear(s));
    assert_eq!(
        rig.took(),
        [
            "finish 1 rejected: volts 41 V is outside its limits: 0 to 40 V",
            "finish 2 rejected: `channel` is \"amps\"; expected one that can be set: volts, output",
            "finish 3 rejected: `value` is \"maybe\"; expected one of off, on",
            "finish 4 rejected: `value` is \"1; OUTP 1\"; expected a number",
        ],
        "nothing is sent"
    );
    rig.command("5", "set", json!({ "channel": "volts", "value": 12.5 }), &mut |s| supply.hear(s));
    rig.run(ms(200), &mut |s| supply.hear(s));
    assert_eq!(
        rig.said(&QUIET),
        [
            "send VOLT 12.500\\n",
            "motion volts to 12.5",
            "send SYST:ERR?\\n",
            "send VOLT?\\n",
            "readings volts=Number(12.5) V",
            "finish 5 completed",
        ]
    );
    rig.command("6", "set", json!({ "channel": "output", "value": true }), &mut |s| supply.hear(s));
    rig.run(ms(200), &mut |s| supply.hear(s));
    assert!(rig.took().contains(&"finish 6 completed".to_string()));
    assert_eq!(supply.values["OUTP"], "1");
}

#[test]
fn a_set_that_does_not_take_fails_with_both_numbers() {
    let mut supply = Supply::new();
    let mut rig = rig(&supply_config(), &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    // It refuses and says so.
    rig.command("1", "set", json!({ "channel": "volts", "value": 35 }), &mut |s| supply.hear(s));
    rig.run(ms(400), &mut |s| supply.hear(s));
    let log = rig.took();
    let end = "finish 1 failed: set volts to 35 V, but it reads back 1.0 V; the device reports -222,\"Data out of range\"";
    assert!(log.contains(&end.to_string()), "{log:#?}");
    assert!(log.contains(&"readings error=Text(\"-222,\\\"Data out of range\\\"\")".to_string()));
    // It takes it, and does not do it: looked at again and again as long as it may settle.
    let mut stuck = |sent: &[u8]| {
        if sent == b"VOLT 2.000\n" { Vec::new() } else { supply.hear(sent) }
    };
    rig.command("2", "set", json!({ "channel": "volts", "value": 2 }), &mut stuck);
    rig.run(ms(1500), &mut stuck);
    let log = rig.took();
    assert!(log.contains(&"finish 2 failed: set volts to 2 V, but it reads back 1.0 V".to_string()));
    let looks = log.iter().filter(|l| *l == "send VOLT?\\n").count();
    assert!((8..=17).contains(&looks), "{looks} looks");
}

#[test]
fn the_rest_is_asked_while_a_set_settles() {
    let mut supply = Supply::new();
    let mut config = supply_config();
    config.poll = ms(200);
    config.channels[0].settle = ms(2000);
    config.channels[0].readback = Some("MEAS?".into());
    supply.values.insert("MEAS".into(), "0".into());
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    rig.command("1", "set", json!({ "channel": "volts", "value": 2 }), &mut |s| supply.hear(s));
    rig.run(ms(1000), &mut |s| supply.hear(s));
    let log = rig.took();
    let count = |line: &str| log.iter().filter(|l| *l == line).count();
    assert!((2..=6).contains(&count("send CURR?\\n")), "{log:#?}");
    assert!((3..=14).contains(&count("send MEAS?\\n")), "{log:#?}");
    assert!(!log.iter().any(|l| l.starts_with("finish")));
    supply.values.insert("MEAS".into(), "2".into());
    rig.run(ms(300), &mut |s| supply.hear(s));
    assert!(rig.took().contains(&"finish 1 completed".to_string()));
}

#[test]
fn manual_queries_and_clearing() {
    let mut supply = Supply::new();
    supply.errors = vec!["-350,\"Queue overflow\"".into()];
    let mut rig = rig(&supply_config(), &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    let mut device = |s: &[u8]| supply.hear(s);
    rig.command("1", "query", json!({ "command": " CURR? " }), &mut device);
    rig.command("2", "clear_error", json!({}), &mut device);
    rig.command("3", "query", json!({ "command": "SYST:BEEP" }), &mut device);
    rig.command("4", "query", json!({ "command": "A\nB" }), &mut device);
    rig.command("5", "query", json!({}), &mut device);
    rig.command("6", "fly", json!({}), &mut device);
    rig.run(ms(500), &mut device);
    let log = rig.said(&["send", "heard", "readings error"]);
    assert_eq!(
        log,
        [
            "finish 4 rejected: `text` is \"A\\nB\"; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
            "finish 5 rejected: `text` is \"\"; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
            "finish 6 rejected: an instrument has no \"fly\"",
            "finish 1 completed: +5.0E-01",
            "finish 2 completed",
            "finish 3 completed: sent; the device reports no error",
        ]
    );
    assert_eq!(rig.protocol.actions(), ["query", "set", "move", "clear_error"]);
}

#[test]
fn a_wrong_device_is_told_and_neither_asked_nor_set() {
    let mut config = supply_config();
    config.expect = Some("PS2\\d\\d".into());
    let mut supply = Supply::new();
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(3000), &mut |s| supply.hear(s));
    rig.command("1", "set", json!({ "channel": "volts", "value": 1 }), &mut |s| supply.hear(s));
    let log = rig.took();
    let why = "it answers `ACME,PS100,1234,1.0` to `*IDN?`, which does not match `PS2\\d\\d`: is another device plugged in here?";
    assert_eq!(
        log,
        [
            "flush".to_string(),
            "send *IDN?\\n".into(),
            "heard".into(),
            "detail idn \"ACME,PS100,1234,1.0\"".into(),
            "count wrong_device 1".into(),
            format!(
                "readings volts=Missing(DeviceError) V, amps=Missing(DeviceError), output=Missing(DeviceError), status=Text(\"error\"), error=Text({why:?})"
            ),
            format!("finish 1 rejected: {why}"),
        ]
    );
    // The right one is plugged in.
    rig.close();
    supply.idn = "ACME,PS250,99,1.0".into();
    rig.open(&mut |s| supply.hear(s));
    rig.run(ms(200), &mut |s| supply.hear(s));
    let log = rig.took();
    assert!(log.contains(&"readings status=Text(\"connected\"), error=Text(\"\")".to_string()), "{log:?}");
    assert!(log.contains(&"readings volts=Number(1.0) V".to_string()));
}

#[test]
fn a_late_answer_is_never_taken_for_the_next_one() {
    let mut supply = Supply::new();
    let config = config::Scpi { timeout: ms(300), ..supply_config() };
    let mut rig = rig(&config, &mut supply);
    // From now on the voltage takes 450 ms to be answered: after the time-out, and after the quiet.
    let mut slow = |sent: &[u8]| -> Replies {
        let late = if sent == b"VOLT?\n" { ms(445) } else { ms(0) };
        supply.hear(sent).into_iter().map(|(after, bytes)| (after + late, bytes)).collect()
    };
    rig.run(ms(5000), &mut slow);
    let log = rig.took();
    assert!(log.contains(&"count timeouts 1".to_string()), "{log:#?}");
    for line in log.iter().filter(|l| l.starts_with("readings")) {
        let good = [
            "readings amps=Number(0.5)",
            "readings output=Text(\"off\")",
            "readings volts=Missing(CommError) V",
        ];
        assert!(good.contains(&line.as_str()), "{line}");
    }
    assert!(log.contains(&"count late 1".to_string()) || log.contains(&"count unasked 1".to_string()));
    assert!(!log.iter().any(|l| l.starts_with("lost")), "the device answers all else");
}

/// A device that hung for a while answered all it had been asked at once: the first of these was taken for who it is.
#[test]
fn late_answers_that_come_at_once_are_not_who_it_is() {
    for expect in [None, Some("PS1\\d\\d".to_string())] {
        let mut supply = Supply::new();
        let config = config::Scpi { timeout: ms(300), expect, ..supply_config() };
        let mut rig = rig(&config, &mut supply);
        rig.run(ms(900), &mut |s| supply.hear(s));
        rig.took();
        let (mut held, mut identified) = (Vec::new(), 0);
        let mut hung = |sent: &[u8]| -> Replies {
            held.extend(supply.hear(sent).into_iter().flat_map(|(_, bytes)| bytes));
            identified += u32::from(sent == b"*IDN?\n");
            if identified < 4 { Vec::new() } else { vec![(ms(5), std::mem::take(&mut held))] }
        };
        while !rig.log.contains(&"count late 1".to_string()) {
            rig.run(ms(10), &mut hung);
            assert!(rig.now < ms(10_000), "{:#?}", rig.log);
        }
        rig.run(ms(1000), &mut |s| supply.hear(s));
        let log = rig.took();
        assert_eq!(log.iter().filter(|l| *l == "count timeouts 1").count(), 4, "{log:#?}");
        let wrong = ["detail idn", "count wrong_device", "bad"];
        assert!(!log.iter().any(|l| wrong.iter().any(|w| l.starts_with(w))), "{log:#?}");
        assert_eq!(log.iter().filter(|l| *l == "count unasked 1").count(), 3, "who it is, three times more");
        assert!(log.contains(&"readings amps=Number(0.5)".to_string()), "{log:#?}");
    }
}

/// As above, but the answers come one after the other, also while the next question is under way.
#[test]
fn late_answers_that_drop_in_are_no_values() {
    let mut supply = Supply::new();
    let mut config = config::Scpi { timeout: ms(300), poll: ms(200), ..supply_config() };
    config.channels = vec![channel("label", "LAB?")];
    supply.values.insert("LAB".into(), "\"A\"".into());
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(100), &mut |s| supply.hear(s));
    let asked = |rig: &Rig<Scpi>, text: &str| rig.log.iter().filter(|l| *l == text).count();
    rig.took();
    let mut mute = |_: &[u8]| Vec::new();
    while asked(&rig, "send *IDN?\\n") < 3 {
        rig.run(ms(10), &mut mute);
    }
    let idn = format!("{}\r\n", supply.idn);
    for late in ["\"A\"\r\n", &idn] {
        rig.hear(late.as_bytes());
        rig.run(ms(10), &mut mute);
    }
    rig.took();
    while asked(&rig, "send LAB?\\n") == 0 {
        rig.run(ms(10), &mut mute);
    }
    for late in [&idn, &idn, "\"B\"\r\n"] {
        rig.hear(late.as_bytes());
        rig.run(ms(10), &mut mute);
    }
    let log = rig.said(&["send", "flush"]);
    assert_eq!(log, ["count late 1", "count late 1", "readings label=Text(\"B\")"]);
    // What was owed is settled: the same text is a value now.
    rig.run(ms(300), &mut |_| vec![(ms(5), idn.clone().into_bytes())]);
    assert!(rig.took().contains(&format!("readings label=Text({:?})", supply.idn)));
}

#[test]
fn another_device_is_noticed_after_time_outs_as_well() {
    for expect in [None, Some("PS1\\d\\d".to_string())] {
        let is_wrong = expect.is_some();
        let mut supply = Supply::new();
        let config = config::Scpi { timeout: ms(300), expect, ..supply_config() };
        let mut rig = rig(&config, &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.run(ms(8000), &mut |_| Vec::new());
        rig.took();
        supply.idn = "OTHER,7".into();
        // One question more than a device takes that nothing is owed by.
        rig.run(ms(1500), &mut |s| supply.hear(s));
        let log = rig.took();
        assert!(log.contains(&"detail idn \"OTHER,7\"".to_string()), "{log:#?}");
        assert_eq!(log.contains(&"count wrong_device 1".to_string()), is_wrong, "{log:#?}");
        assert_eq!(log.contains(&"send VOLT?\\n".to_string()), !is_wrong);
    }
}

#[test]
fn a_line_is_heard_out_before_the_first_question() {
    let mut rig = Rig::new(Scpi::new(&supply_config()).unwrap());
    rig.open(&mut |_| Vec::new());
    rig.run(ms(10), &mut |_| Vec::new());
    // To whoever had the line before us.
    rig.hear(b"1.5\r\n");
    rig.run(ms(90), &mut |_| Vec::new());
    rig.hear(b"OTHER,7\r\n");
    rig.run(ms(90), &mut |_| Vec::new());
    assert_eq!(rig.took(), ["flush", "count unasked 1", "count unasked 1"]);
    rig.run(ms(20), &mut |_| Vec::new());
    assert_eq!(rig.took(), ["send *IDN?\\n"]);
    // One that never stops talking is asked all the same.
    rig.close();
    rig.open(&mut |_| Vec::new());
    for _ in 0..50 {
        rig.run(ms(50), &mut |_| Vec::new());
        rig.hear(b"1.5\r\n");
    }
    assert!(rig.took().contains(&"send *IDN?\\n".to_string()));
}

#[test]
fn three_time_outs_in_a_row_are_a_loss_and_it_comes_back_by_itself() {
    let mut supply = Supply::new();
    let config = config::Scpi { timeout: ms(200), ..supply_config() };
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    rig.run(ms(2000), &mut |_| Vec::new());
    rig.command("1", "set", json!({ "channel": "volts", "value": 1 }), &mut |_| Vec::new());
    rig.run(ms(12_000), &mut |_| Vec::new());
    let log = rig.said(&["send", "flush"]);
    assert_eq!(log.iter().filter(|l| *l == "lost not_connected").count(), 1, "{log:?}");
    assert!(log.iter().any(|l| l.starts_with("finish 1 timed_out")), "{log:?}");
    rig.run(ms(2000), &mut |s| supply.hear(s));
    let log = rig.took();
    assert!(log.contains(&"readings volts=Number(1.0) V".to_string()));
    assert!(!log.iter().any(|l| l.starts_with("send VOLT ")), "what timed out is not done later");
}

#[test]
fn what_is_under_way_fails_when_the_port_closes() {
    let mut supply = Supply::new();
    let mut rig = rig(&supply_config(), &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    for id in ["1", "2"] {
        rig.command(id, "query", json!({ "command": "CURR?" }), &mut |_| Vec::new());
    }
    rig.took();
    rig.close();
    assert_eq!(rig.took(), ["finish 1 failed: the port was closed", "finish 2 failed: the port was closed"]);
    rig.command("3", "query", json!({ "command": "CURR?" }), &mut |_| Vec::new());
    assert_eq!(rig.took(), ["finish 3 failed: the port is not open"]);
    assert_eq!(rig.protocol.wake(), None);
}

fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut reader = Answers::new("\n");
    bytes.iter().filter_map(|b| reader.feed(*b)).collect()
}

#[test]
fn answers_are_taken_apart() {
    let one = |bytes: &[u8]| answers(bytes).into_iter().next().unwrap();
    assert_eq!(one(b"\r\n\n1.5\r\n").line, b"1.5");
    assert_eq!(answers(b"1\n2\r\n\r\n3").len(), 2);
    let block = one(b"#15he\nlo\r\n");
    assert_eq!((&block.line[..], &block.blocks[0].data[..]), (&b"\0"[..], &b"he\nlo"[..]));
    let mixed = one(b"1.5;#206\x00\x01\x02\x03\x04\x05,#12ok;3\n");
    assert_eq!(mixed.line, b"1.5;\0,\0;3");
    assert_eq!(mixed.blocks.iter().map(|b| b.data.len()).collect::<Vec<_>>(), [6, 2]);
    assert_eq!(one(b"#0any\x01thing\r\n").blocks[0].data, b"any\x01thing");
    assert_eq!(one(b"#10\n").blocks[0].data, b"");
    assert_eq!(one(b"#HFF\n").line, b"#HFF");
    assert_eq!(one(b"\"#15\";x\n").line, b"\"#15\";x", "not inside quotes");
    assert_eq!(one(b"#9x\n").line, b"#?x");
    let big = format!("#6{:06}{}\n7\n", limits::SCPI_BLOCK + 1, "x".repeat(limits::SCPI_BLOCK + 1));
    let got = answers(big.as_bytes());
    assert_eq!(
        (got[0].skipped, got[0].blocks[0].whole, &got[1].line[..]),
        (limits::SCPI_BLOCK + 1, false, &b"7"[..])
    );
    assert!(one(b"#9999999999liar\n").overlong);
    let long = format!("{}\n8\n", "y".repeat(5000));
    let got = answers(long.as_bytes());
    assert!(got[0].overlong && got[1].line == b"8");
}

#[test]
fn values_of_answers() {
    let value = |change: &dyn Fn(&mut ScpiChannel), bytes: &[u8]| {
        let mut channel = channel("c", "C?");
        change(&mut channel);
        let part = channel.part;
        value_of(&channel, &answers(bytes)[0], part)
    };
    let plain = |_: &mut ScpiChannel| {};
    let volts = |c: &mut ScpiChannel| c.unit = Some("V".into());
    let part = |n| move |c: &mut ScpiChannel| c.part = Some(n);
    let number = |n| Ok(Value::Number(n));
    let table: Vec<(Result<Value, String>, Result<Value, String>)> = vec![
        (value(&plain, b"+1.2345E+00\n"), number(1.2345)),
        (value(&plain, b"9.91E37\n"), Ok(Value::Missing(QualityReason::Nan))),
        (value(&plain, b"-9.9E37\n"), Ok(Value::Missing(QualityReason::Overrange))),
        (value(&plain, b"#HFF\n"), number(255.0)),
        (value(&plain, b"#B101\n"), number(5.0)),
        (value(&plain, b"\"CH1\"\n"), Ok(Value::Text("CH1".into()))),
        (value(&volts, b"12.05 VDC\n"), number(12.05)),
        (value(&volts, b"OVERLOAD\n"), Err("is no number".into())),
        (value(&volts, b"\xff\xfe1\n"), Err("is not text".into())),
        (value(&plain, b"\x1b[2J\n"), Err("is not text".into())),
        (value(&part(1), b"1;2.5;3\n"), number(2.5)),
        (value(&part(0), b"\"a;b\",7\n"), Ok(Value::Text("a;b".into()))),
        (value(&part(3), b"1;2;3\n"), Err("has no part 3".into())),
        (value(&|c| c.block = true, b"#212+1.25E+00...\n"), Ok(Value::Text("+1.25E+00...".into()))),
        (value(&|c| c.block = true, b"#14\x00\x01\x02\x03\n"), number(4.0)),
        (value(&|c| c.block = true, b"1.5\n"), Err("is not a block".into())),
        (value(&|c| (c.scale, c.offset) = (1000.0, 1.0), b"0.5\n"), number(501.0)),
    ];
    for (n, (is, wanted)) in table.into_iter().enumerate() {
        assert_eq!(is, wanted, "row {n}");
    }
}

/// Sessions in tests/golden/scpi: `> line` is what the device waits for, `< line` what it answers then; escapes as in
/// Rust. `name.out` is all that comes of it in three seconds.
#[test]
fn golden_sessions() {
    let dmm = config::Scpi {
        expect: Some("3446".into()),
        poll: ms(1000),
        timeout: ms(500),
        channels: vec![
            ScpiChannel { unit: Some("V".into()), ..channel("volts", "MEAS:VOLT:DC?") },
            ScpiChannel { part: Some(0), unit: Some("Hz".into()), ..channel("frequency", "FETC:FREQ?;PER?") },
            ScpiChannel { part: Some(1), unit: Some("s".into()), ..channel("period", "FETC:FREQ?;PER?") },
            ScpiChannel { block: true, ..channel("trace", "DATA:LAST?") },
        ],
        errors_every: 1,
        ..config::Scpi::default()
    };
    for (name, config) in [("multimeter", &dmm), ("supply", &supply_config())] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scpi");
        let text = std::fs::read_to_string(folder.join(format!("{name}.session"))).unwrap();
        let mut script: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
        for line in text.lines() {
            if let Some(wanted) = line.strip_prefix("> ") {
                script.push((wanted.into(), Vec::new()));
            } else if let Some(answer) = line.strip_prefix("< ") {
                script.last_mut().unwrap().1.push(unescape(answer));
            }
        }
        let mut device = |sent: &[u8]| -> Replies {
            let line = String::from_utf8_lossy(sent).trim_end().to_string();
            let Some(at) = script.iter().position(|(wanted, _)| *wanted == line) else {
                return Vec::new();
            };
            script.remove(at).1.into_iter().map(|bytes| (ms(3), bytes)).collect()
        };
        let mut rig = Rig::new(Scpi::new(config).unwrap());
        rig.open(&mut device);
        rig.run(ms(3000), &mut device);
        golden(&format!("scpi/{name}"), &format!("{}\n", rig.took().join("\n")));
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.bytes();
    while let Some(b) = chars.next() {
        match (b, b == b'\\') {
            (_, false) => out.push(b),
            _ => match chars.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b'x') => {
                    let digits = [chars.next().unwrap(), chars.next().unwrap()];
                    out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                }
                other => panic!("escape {other:?}"),
            },
        }
    }
    out
}

proptest! {
    /// However the bytes of an answer are cut, the same comes of them.
    #[test]
    fn chunks_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let whole = answers(&bytes);
        let mut reader = Answers::new("\n");
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let parts: Vec<Answer> = a.iter().chain(b).filter_map(|byte| reader.feed(*byte)).collect();
        prop_assert_eq!(whole, parts);
    }

    /// A number that is set comes back as itself.
    #[test]
    fn what_is_sent_reads_back(value in -1e6f64..1e6, scale in prop::sample::select(vec![1.0, 1000.0, 0.001])) {
        let channel = ScpiChannel { set: Some("V {}".into()), scale, ..channel("v", "V?") };
        let (text, wanted) = text_to_send(&channel, &Setting::Number(value), None).unwrap();
        let answer = &answers(format!("{text}\n").as_bytes())[0];
        let Wanted::Number { tolerance, .. } = wanted else { panic!("{wanted:?}") };
        let back = value_of(&channel, answer, None).unwrap().as_number().unwrap();
        prop_assert!((back - value).abs() <= tolerance, "{} became {}", value, back);
    }
}

/// A stage: it moves for so many looks, and says so.
#[derive(Default)]
struct Stage {
    at: f64,
    to: f64,
    /// Looks until it begins to move, and until it has arrived.
    begins: u32,
    looks: u32,
    /// It ends there, whatever it was told.
    ends_at: Option<f64>,
    heard: Vec<String>,
}

impl Stage {
    fn hear(&mut self, sent: &[u8]) -> Replies {
        let text = String::from_utf8(sent.to_vec()).unwrap().trim().to_string();
        self.heard.push(text.clone());
        let answer = match text.as_str() {
            "ID?" => "STAGE".to_string(),
            "MOV?" => {
                if self.begins > 0 {
                    self.begins -= 1;
                    "0".into()
                } else if self.looks > 0 {
                    self.looks -= 1;
                    self.at = if self.looks == 0 { self.ends_at.unwrap_or(self.to) } else { self.at };
                    u8::from(self.looks > 0).to_string()
                } else {
                    "0".into()
                }
            }
            "POS?" => format!("{:.3};{:.3}", self.at, self.to),
            "VEL?" => "2.5".into(),
            "H" => {
                self.looks = self.looks.min(1);
                self.ends_at = Some(self.at);
                return Vec::new();
            }
            other => {
                if let Some(to) = other.strip_prefix("MOVE ") {
                    self.to = to.parse().unwrap();
                }
                return Vec::new();
            }
        };
        vec![(ms(2), format!("{answer}\n").into_bytes())]
    }
}

fn stage_config() -> config::Scpi {
    let mut x = channel("x", "POS?");
    x.part = Some(0);
    x.unit = Some("mm".into());
    x.set = Some("MOVE {:.3}".into());
    x.moving = Some("MOV?".into());
    (x.min, x.max, x.tolerance, x.settle) = (Some(0.0), Some(250.0), Some(0.01), Duration::from_secs(5));
    let mut goal = channel("goal", "POS?");
    goal.part = Some(1);
    config::Scpi {
        identify: "ID?".into(),
        errors: String::new(),
        clear: String::new(),
        gap: Duration::ZERO,
        timeout: ms(300),
        poll: ms(10_000),
        stop: "H".into(),
        safe: vec!["H".into(), "OFF".into()],
        settings: [("velocity".to_string(), "VEL?".to_string())].into(),
        channels: vec![x, goal],
        ..config::Scpi::default()
    }
}

fn stage(stage: &mut Stage) -> Rig<Scpi> {
    let mut rig = Rig::new(Scpi::new(&stage_config()).unwrap());
    rig.open(&mut |sent| stage.hear(sent));
    rig.run(ms(200), &mut |sent| stage.hear(sent));
    rig.took();
    stage.heard.clear();
    rig
}

fn set(to: f64) -> Request {
    Request::Set { channel: "x".into(), to: Setting::Number(to), tolerance: None, within: None, arrive: true }
}

fn finish(rig: &mut Rig<Scpi>, id: &str) -> Option<Finish> {
    let found = rig.actions.iter().find_map(|action| match action {
        Action::Finish(end) if end.id == id => Some(end.clone()),
        _ => None,
    });
    rig.took();
    found
}

#[test]
fn what_changes_seldom_is_read_after_the_opening() {
    let mut device = Stage::default();
    let mut rig = Rig::new(Scpi::new(&stage_config()).unwrap());
    rig.open(&mut |sent| device.hear(sent));
    rig.run(ms(65_000), &mut |sent| device.hear(sent));
    let log = rig.took();
    assert_eq!(log.iter().filter(|l| *l == "settings velocity=Number(2.5)").count(), 2, "once a minute");
    assert!(log.contains(&"motion x stands".to_string()));
}

#[test]
fn a_move_has_arrived_when_it_has_moved_and_stands_there() {
    let mut device = Stage { at: 1.0, ..Stage::default() };
    let mut rig = stage(&mut device);
    (device.begins, device.looks) = (2, 4);
    rig.ask("1", &set(15.0), &mut |sent| device.hear(sent));
    rig.run(ms(30), &mut |sent| device.hear(sent));
    assert!(finish(&mut rig, "1").is_none(), "it has not begun to move");
    rig.run(ms(2000), &mut |sent| device.hear(sent));
    let moving = rig.log.iter().filter(|l| l.starts_with("motion")).cloned().collect::<Vec<_>>();
    let end = finish(&mut rig, "1").unwrap();
    assert_eq!((end.state, end.code), (CommandState::Completed, None));
    assert_eq!(end.readings[0].value, Value::Number(15.0));
    assert_eq!(moving.first().map(String::as_str), Some("motion x moves"));
    assert_eq!(moving.last().map(String::as_str), Some("motion x stands"));
    // It is there already: the flag never rises, and it is done all the same.
    rig.ask("2", &set(15.0), &mut |sent| device.hear(sent));
    rig.run(ms(300), &mut |sent| device.hear(sent));
    assert_eq!(finish(&mut rig, "2").unwrap().state, CommandState::Completed);
}

#[test]
fn why_a_move_did_not_arrive_has_a_name() {
    // How it ends, and what that is called.
    let table: [(u32, u32, Option<f64>, Failure); 4] = [
        (0, 3, Some(7.0), Failure::StoppedExternally),
        (0, 3, Some(15.05), Failure::NotInTolerance),
        (1_000_000, 0, None, Failure::Timeout),
        (0, 1_000_000, None, Failure::Timeout),
    ];
    for (begins, looks, ends_at, code) in table {
        let mut device = Stage { at: 1.0, ..Stage::default() };
        let mut rig = stage(&mut device);
        (device.begins, device.looks, device.ends_at) = (begins, looks, ends_at);
        rig.ask("1", &set(15.0), &mut |sent| device.hear(sent));
        rig.run(ms(6_000), &mut |sent| device.hear(sent));
        let end = finish(&mut rig, "1").unwrap();
        assert_eq!((end.state, end.code), (CommandState::Failed, Some(code)), "{:?}", end.reason);
    }
    // Outside its limits: nothing is sent.
    let mut device = Stage::default();
    let mut rig = stage(&mut device);
    rig.ask("1", &set(250.5), &mut |sent| device.hear(sent));
    let end = finish(&mut rig, "1").unwrap();
    assert_eq!((end.state, end.code), (CommandState::Rejected, Some(Failure::Limit)));
    assert_eq!(device.heard, Vec::<String>::new());
}

/// A controller that answers every line. Source: the motor of the examples of lewis (`T=1.0` is answered by `T=1.0`).
#[test]
fn what_is_sent_is_acknowledged_where_the_device_does() {
    let mut device = Stage { at: 1.0, ..Stage::default() };
    let config = config::Scpi { set_answers: true, ..stage_config() };
    let mut rig = Rig::new(Scpi::new(&config).unwrap());
    let acknowledges = |device: &mut Stage, sent: &[u8]| -> Replies {
        let answer = device.hear(sent);
        // Late enough to come after the next question, were that asked at once.
        if answer.is_empty() { vec![(ms(30), sent.to_vec())] } else { answer }
    };
    rig.open(&mut |sent| acknowledges(&mut device, sent));
    rig.run(ms(200), &mut |sent| acknowledges(&mut device, sent));
    rig.took();
    device.heard.clear();
    device.looks = 3;
    rig.ask("1", &set(15.0), &mut |sent| acknowledges(&mut device, sent));
    rig.run(ms(1000), &mut |sent| acknowledges(&mut device, sent));
    let log = rig.took();
    assert!(log.contains(&"finish 1 completed".to_string()), "{log:#?}");
    assert!(!log.iter().any(|l| l.starts_with("count") || l.starts_with("bad")), "{log:#?}");
    let both = Request::Move { to: vec![("x".into(), Setting::Number(16.0))], within: None };
    rig.ask("2", &both, &mut |sent| acknowledges(&mut device, sent));
    // All of it is sent, though nobody acknowledges any.
    rig.ask("3", &Request::Safe, &mut |sent| acknowledges(&mut device, sent));
    device.heard.clear();
    let mut silent = |sent: &[u8]| {
        if sent.ends_with(b"?\n") {
            device.hear(sent)
        } else {
            device.hear(sent);
            Vec::new()
        }
    };
    rig.run(ms(2000), &mut silent);
    let told = ends(&mut rig);
    assert_eq!(
        told[0],
        ("2".to_string(), CommandState::Failed, Some(Failure::StoppedExternally)),
        "{told:?}"
    );
    assert_eq!(told[1].0, "3");
    let sent: Vec<_> = device.heard.iter().filter(|h| !h.ends_with('?')).cloned().collect();
    assert_eq!(sent, ["H", "OFF"]);
    // A set that is not acknowledged has failed.
    rig.ask("4", &set(2.0), &mut |_| Vec::new());
    rig.run(ms(1000), &mut |_| Vec::new());
    assert_eq!(ends(&mut rig), [("4".to_string(), CommandState::Failed, Some(Failure::Timeout))]);
}

#[test]
fn stopping_goes_first_and_ends_what_moves() {
    let mut device = Stage { at: 1.0, ..Stage::default() };
    let mut rig = stage(&mut device);
    device.looks = 1_000;
    rig.ask("1", &set(15.0), &mut |sent| device.hear(sent));
    rig.run(ms(100), &mut |sent| device.hear(sent));
    // A second one for the same channel waits; a question does not.
    rig.ask("2", &set(20.0), &mut |sent| device.hear(sent));
    rig.ask("3", &Request::Query("VEL?".into()), &mut |sent| device.hear(sent));
    rig.run(ms(50), &mut |sent| device.hear(sent));
    assert!(!device.heard.contains(&"MOVE 20.000".to_string()));
    assert_eq!(finish(&mut rig, "3").unwrap().text.as_deref(), Some("2.5"));
    rig.ask("4", &Request::Stop, &mut |sent| device.hear(sent));
    rig.run(ms(500), &mut |sent| device.hear(sent));
    let ends: Vec<(String, CommandState, Option<Failure>)> = rig
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Finish(end) => Some((end.id.clone(), end.state, end.code)),
            _ => None,
        })
        .collect();
    let stopped = Some(Failure::StoppedExternally);
    assert_eq!(
        ends,
        [
            ("1".to_string(), CommandState::Failed, stopped),
            ("2".to_string(), CommandState::Failed, stopped),
            ("4".to_string(), CommandState::Completed, None),
        ]
    );
    assert!(!device.heard.contains(&"MOVE 20.000".to_string()), "what was not sent is not sent");
    device.heard.clear();
    rig.ask("5", &Request::Safe, &mut |sent| device.hear(sent));
    rig.run(ms(100), &mut |sent| device.hear(sent));
    assert_eq!(finish(&mut rig, "5").unwrap().state, CommandState::Completed);
    assert_eq!(device.heard[..2], ["H".to_string(), "OFF".into()]);
}

#[test]
fn a_read_asks_now_and_once_for_all_that_share_an_answer() {
    let mut device = Stage { at: 3.5, to: 4.0, ..Stage::default() };
    let mut rig = stage(&mut device);
    let read = Request::Read { channels: vec!["x".into(), "goal".into()] };
    rig.ask("1", &read, &mut |sent| device.hear(sent));
    rig.run(ms(50), &mut |sent| device.hear(sent));
    assert!(rig.log.contains(&"readings x=Number(3.5) mm, goal=Number(4.0)".to_string()), "{:?}", rig.log);
    let end = finish(&mut rig, "1").unwrap();
    let values: Vec<_> = end.readings.iter().map(|r| (r.name.as_str(), r.value.clone())).collect();
    assert_eq!(values, [("x", Value::Number(3.5)), ("goal", Value::Number(4.0))]);
    assert_eq!(device.heard, ["POS?"]);
    // Garbage is no value; no number is one that is missing.
    for (answer, state) in [("xyz;1", CommandState::Failed), ("9.91E37;1", CommandState::Completed)] {
        let mut odd = |_: &[u8]| vec![(ms(2), format!("{answer}\n").into_bytes())];
        rig.ask("2", &read, &mut odd);
        rig.run(ms(50), &mut odd);
        let end = finish(&mut rig, "2").unwrap();
        assert_eq!(end.state, state, "{answer}");
        assert!(matches!(end.readings[0].value, Value::Missing(_)), "{answer}");
    }
    rig.ask("3", &Request::Read { channels: vec!["y".into()] }, &mut |sent| device.hear(sent));
    assert_eq!(
        finish(&mut rig, "3").unwrap().reason.as_deref(),
        Some("\"y\" can't be read; expected one of x, goal")
    );
}

#[test]
fn what_was_given_up_is_not_sent_and_its_answer_is_nobodys() {
    let mut device = Stage::default();
    let mut rig = stage(&mut device);
    rig.ask("1", &Request::Query("VEL?".into()), &mut |sent| device.hear(sent));
    rig.ask("2", &set(5.0), &mut |sent| device.hear(sent));
    rig.ask("3", &Request::Query("POS?".into()), &mut |sent| device.hear(sent));
    rig.protocol.give_up("1");
    rig.protocol.give_up("2");
    rig.run(ms(100), &mut |sent| device.hear(sent));
    assert_eq!(finish(&mut rig, "3").unwrap().text.as_deref(), Some("0.000;0.000"), "not the answer of 1");
    assert_eq!(device.heard, ["VEL?", "POS?"]);
    // A move that nobody waits for is not looked at any more, and its channel is free.
    device.looks = 1_000;
    rig.ask("4", &set(5.0), &mut |sent| device.hear(sent));
    rig.run(ms(100), &mut |sent| device.hear(sent));
    rig.protocol.give_up("4");
    device.looks = 2;
    rig.ask("5", &set(6.0), &mut |sent| device.hear(sent));
    rig.run(ms(500), &mut |sent| device.hear(sent));
    let ends: Vec<_> = rig.log.iter().filter(|l| l.starts_with("finish")).cloned().collect();
    assert_eq!(ends, ["finish 5 completed"]);
}

#[test]
fn whoever_asks_without_a_pause_does_not_starve_the_polls() {
    let mut device = Stage::default();
    let mut rig = stage(&mut device);
    let mut asked = 0;
    for _ in 0..20_000 {
        asked += 1;
        rig.ask(&asked.to_string(), &Request::Query("VEL?".into()), &mut |sent| device.hear(sent));
        rig.run(ms(2), &mut |sent| device.hear(sent));
    }
    let polls = device.heard.iter().filter(|h| *h == "POS?").count();
    assert!((1..=3).contains(&polls), "polled {polls} times in 40 s of 10 s each");
    assert!(device.heard.len() > 15_000);
}

#[test]
fn a_move_of_several_channels_is_all_or_nothing() {
    let mut config = supply_config();
    config.gap = Duration::ZERO;
    let mut supply = Supply::new();
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    let to = |volts: f64| Request::Move {
        to: vec![("output".into(), Setting::Word("on".into())), ("volts".into(), Setting::Number(volts))],
        within: None,
    };
    rig.ask("1", &to(41.0), &mut |s| supply.hear(s));
    let end = finish(&mut rig, "1").unwrap();
    assert_eq!((end.state, end.code), (CommandState::Rejected, Some(Failure::Limit)));
    assert_eq!(supply.values["OUTP"], "0", "not even the one that could be");
    rig.ask("2", &to(5.0), &mut |s| supply.hear(s));
    rig.run(ms(300), &mut |s| supply.hear(s));
    let end = finish(&mut rig, "2").unwrap();
    assert_eq!((end.state, end.readings.len()), (CommandState::Completed, 2));
    // The device refuses one of them.
    rig.ask("3", &to(35.0), &mut |s| supply.hear(s));
    rig.run(ms(300), &mut |s| supply.hear(s));
    let end = finish(&mut rig, "3").unwrap();
    assert_eq!((end.state, end.code), (CommandState::Failed, Some(Failure::DeviceError)), "{:?}", end.reason);
    // Not waited for: done as soon as it was taken.
    let set = Request::Set {
        channel: "volts".into(),
        to: Setting::Number(7.0),
        tolerance: None,
        within: None,
        arrive: false,
    };
    rig.ask("4", &set, &mut |s| supply.hear(s));
    rig.run(ms(100), &mut |s| supply.hear(s));
    assert!(!rig.log.contains(&"send VOLT?\\n".to_string()));
    assert_eq!(finish(&mut rig, "4").unwrap().state, CommandState::Completed);
}

fn ends(rig: &mut Rig<Scpi>) -> Vec<(String, CommandState, Option<Failure>)> {
    let ends = rig.actions.iter().filter_map(|action| match action {
        Action::Finish(end) => Some((end.id.clone(), end.state, end.code)),
        _ => None,
    });
    let ends = ends.collect();
    rig.took();
    ends
}

#[test]
fn stopping_ends_whatever_has_the_line_and_two_stops_both_end() {
    let mut device = Stage::default();
    let mut config = stage_config();
    config.gap = ms(20);
    let mut channel = config.channels[1].clone();
    (channel.name, channel.get) = ("speed".into(), Some("VEL?".into()));
    config.channels.push(channel);
    let mut rig = Rig::new(Scpi::new(&config).unwrap());
    rig.open(&mut |sent| device.hear(sent));
    rig.run(ms(500), &mut |sent| device.hear(sent));
    rig.took();
    device.heard.clear();
    let read = Request::Read { channels: vec!["x".into(), "speed".into()] };
    rig.ask("1", &read, &mut |sent| device.hear(sent));
    // One of its two questions is answered; the line has its pause.
    rig.run(ms(10), &mut |sent| device.hear(sent));
    assert_eq!(device.heard, ["POS?"]);
    rig.ask("2", &Request::Stop, &mut |sent| device.hear(sent));
    rig.ask("3", &Request::Safe, &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    assert_eq!(
        ends(&mut rig),
        [
            ("1".to_string(), CommandState::Failed, Some(Failure::StoppedExternally)),
            ("2".to_string(), CommandState::Completed, None),
            ("3".to_string(), CommandState::Completed, None),
        ]
    );
    let sent: Vec<_> = device.heard.iter().filter(|h| !h.ends_with('?')).cloned().collect();
    assert_eq!(sent, ["H", "H", "OFF"]);
}

#[test]
fn what_a_set_is_refused_for_is_no_fault_of_the_stop_after_it() {
    let mut supply = Supply::new();
    let mut config = supply_config();
    config.gap = ms(20);
    config.stop = "ABOR".into();
    let mut rig = rig(&config, &mut supply);
    rig.run(ms(500), &mut |s| supply.hear(s));
    rig.took();
    rig.command("1", "set", json!({ "channel": "volts", "value": 35 }), &mut |s| supply.hear(s));
    while !rig.log.iter().any(|l| l.starts_with("readings error")) {
        rig.run(ms(1), &mut |s| supply.hear(s));
    }
    rig.ask("2", &Request::Stop, &mut |s| supply.hear(s));
    rig.run(ms(1000), &mut |s| supply.hear(s));
    assert_eq!(
        ends(&mut rig),
        [
            ("1".to_string(), CommandState::Failed, Some(Failure::StoppedExternally)),
            ("2".to_string(), CommandState::Completed, None),
        ]
    );
}

#[test]
fn one_that_is_mute_while_it_moves_is_stopped_all_the_same() {
    let mut device = Stage::default();
    let mut rig = stage(&mut device);
    device.looks = 1_000;
    rig.ask("1", &set(15.0), &mut |sent| device.hear(sent));
    rig.run(ms(20), &mut |sent| device.hear(sent));
    let mut heard = Vec::new();
    let mut mute = |sent: &[u8]| {
        heard.push(String::from_utf8_lossy(sent).trim().to_string());
        Vec::new()
    };
    rig.run(ms(450), &mut mute);
    for id in ["2", "3"] {
        rig.ask(id, &Request::Stop, &mut mute);
    }
    rig.run(ms(1_500), &mut mute);
    let stops = heard.iter().filter(|h| *h == "H").count();
    assert_eq!(stops, 2, "{heard:?}");
    let ends = ends(&mut rig);
    assert!(ends.contains(&("2".to_string(), CommandState::Failed, Some(Failure::Timeout))), "{ends:?}");
}

#[test]
fn the_limits_are_those_of_what_is_sent() {
    let limited = |set: &str, min, max| ScpiChannel {
        set: Some(set.into()),
        min: Some(min),
        max: Some(max),
        ..channel("v", "V?")
    };
    let code = |channel: &ScpiChannel, to: f64| {
        text_to_send(channel, &Setting::Number(to), None).err().and_then(|no| no.code)
    };
    let coarse = limited("V {:.0}", 0.5, 2.6);
    assert_eq!(code(&coarse, 2.6), Some(Failure::Limit), "it would be sent as 3");
    assert_eq!(code(&coarse, 0.5), Some(Failure::Limit), "it would be sent as 0");
    assert_eq!(code(&coarse, 1.6), None);
    let scaled = ScpiChannel { scale: 0.1, ..limited("V {}", 0.0, 0.3) };
    assert_eq!(code(&scaled, 0.3), None, "what arithmetic adds is nothing");
}

#[test]
fn a_setting_without_an_answer_is_not_heard() {
    let mut device = Stage::default();
    let mut deaf = |sent: &[u8]| if sent == b"VEL?\n" { Vec::new() } else { device.hear(sent) };
    let mut rig = Rig::new(Scpi::new(&stage_config()).unwrap());
    rig.open(&mut deaf);
    rig.run(ms(350), &mut deaf);
    let log = rig.took();
    let after: Vec<_> = log.iter().skip_while(|l| *l != "count timeouts 1").collect();
    assert!(!after.is_empty() && !after.contains(&&"heard".to_string()), "{log:#?}");
}

/// 1 % of 250 mm is 2.5 mm: a move of 1 mm had arrived before it began.
#[test]
fn a_guessed_tolerance_does_not_hide_a_move_that_has_not_begun() {
    let mut config = stage_config();
    (config.channels[0].tolerance, config.channels[0].settle) = (None, ms(500));
    let mut device = Stage { at: 15.0, ..Stage::default() };
    let mut rig = Rig::new(Scpi::new(&config).unwrap());
    rig.open(&mut |sent| device.hear(sent));
    rig.run(ms(200), &mut |sent| device.hear(sent));
    // It takes the command and stays where it is.
    rig.ask("1", &set(16.0), &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    assert_eq!(ends(&mut rig), [("1".to_string(), CommandState::Failed, Some(Failure::Timeout))]);
    // It comes near: with 0.4 of 1 mm to go it is where it was sent.
    (device.looks, device.ends_at) = (3, Some(15.6));
    rig.ask("2", &set(16.0), &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    assert_eq!(ends(&mut rig), [("2".to_string(), CommandState::Completed, None)]);
    // The same again: it is as near as it comes.
    rig.ask("3", &set(16.0), &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    assert_eq!(ends(&mut rig), [("3".to_string(), CommandState::Completed, None)]);
    // Unless it was stopped: then it is a way to go.
    rig.ask("4", &Request::Stop, &mut |sent| device.hear(sent));
    rig.run(ms(500), &mut |sent| device.hear(sent));
    rig.ask("5", &set(16.0), &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    let ended = ends(&mut rig);
    assert_eq!(ended[0], ("4".to_string(), CommandState::Completed, None));
    assert_eq!(ended[1], ("5".to_string(), CommandState::Failed, Some(Failure::Timeout)));
    // A tolerance that somebody asked for is taken at its word.
    let wide = Request::Set {
        channel: "x".into(),
        to: Setting::Number(16.0),
        tolerance: Some(2.5),
        within: None,
        arrive: true,
    };
    rig.ask("6", &wide, &mut |sent| device.hear(sent));
    rig.run(ms(1000), &mut |sent| device.hear(sent));
    assert_eq!(ends(&mut rig), [("6".to_string(), CommandState::Completed, None)]);
}
