//! Tests of reading device files: every feature, every kind of fault, random text.
use super::*;
use proptest::prelude::*;

const HEAD: &str = "spec: \"1.0\"\n";

fn fault(text: &str) -> String {
    parse(&format!("{HEAD}{text}"), None).unwrap_err().to_string()
}

#[test]
fn the_first_serial_resource_is_meant_or_the_one_that_is_named() {
    let text = "spec: 1.1\ndevices: {a: {}, b: {eom: {GPIB INSTR: {q: X, r: Y}}}}\nresources:\n  GPIB::8::INSTR: {device: b}\n  \
                ASRL3: {device: a}\n";
    let device = parse(text, None).unwrap();
    assert_eq!((device.name.as_str(), device.resource.as_str()), ("a", "ASRL3"));
    assert_eq!((device.query_end.as_slice(), device.answer_end.as_slice()), (&b"\n"[..], &b"\n"[..]));
    for name in ["GPIB::8::INSTR", "gpib0::8", "GPIB0::8::INSTR"] {
        let device = parse(text, Some(name)).unwrap();
        assert_eq!((device.name.as_str(), device.query_end.as_slice()), ("b", &b"X"[..]), "{name}");
    }
    let wrong = parse(text, Some("ASRL4::INSTR")).unwrap_err().to_string();
    assert_eq!(wrong, "4:3: there is no resource `ASRL4::INSTR`; expected one of `GPIB::8::INSTR`, `ASRL3`");
    let only = "spec: 1.0\ndevices: {b: {}}\nresources: {GPIB::8::INSTR: {device: b}}\n";
    assert_eq!(parse(only, None).unwrap().name, "b", "the only one needs no name");
}

#[test]
fn faults_have_a_place() {
    let device =
        |text: &str| fault(&format!("resources: {{ASRL1::INSTR: {{device: a}}}}\ndevices:\n  a:\n{text}"));
    assert_eq!(
        parse("spec: 2.0\n", None).unwrap_err().to_string(),
        "1:7: `spec` is \"2.0\"; expected \"1.0\" or \"1.1\""
    );
    assert_eq!(fault("devices: {}\n"), "1:1: `resources` is missing");
    assert_eq!(fault("resources: {ASRL1::INSTR: {device: x}}\n"), "2:36: there is no device `x`");
    assert_eq!(device("    dialogues: [{r: x}]\n"), "5:17: `q` is missing");
    assert_eq!(
        device("    properties:\n      v: {default: 9, specs: {type: int, max: 8}}\n"),
        "6:20: `default` of `v` is \"9\", which its own specs refuse"
    );
    assert_eq!(
        device("    properties: {v: {specs: {type: double}}}\n"),
        "5:36: `type` is \"double\"; expected float, int or str"
    );
    assert!(device("    properties: {v: {getter: {q: V?, r: '{:q}'}}}\n").contains("5:41: `q` is no format"));
    assert!(device("    properties: {v: {setter: {q: 'V {'}}}\n").contains("not closed"));
    assert!(device("    eom: {ASRL INSTR: {q: '', r: x}}\n").contains("`q` is empty"));
    assert!(device("    channels: {c: {ids: [1], can_select: False}}\n").contains("selected_channel"));
    assert!(
        device("    channels: {c: {ids: [1], properties: {v: {getter: {q: 'V{}?', r: '{}'}}}}}\n")
            .contains("{ch_id}")
    );
    assert!(
        device("    error: {status_register: [{q: '*ESR?', command_error: x}]}\n")
            .contains("no whole number")
    );
    assert!(device("    bases: [x]\n").contains("bases"));
}

#[test]
fn another_file_is_read_beside_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let main = file("main.yaml", "spec: 1.0\nresources: {ASRL1::INSTR: {device: a, filename: other.yaml}}\n");
    assert!(read(&main, None).unwrap_err().to_string().contains("other.yaml: failed to read"));
    file("other.yaml", "spec: 1.0\ndevices: {a: {dialogues: [{q: 1}, {x: 2}]}}\n");
    let fault = read(&main, None).unwrap_err().to_string();
    assert!(fault.ends_with("other.yaml:2:35: `q` is missing"), "{fault}");
    file("other.yaml", "spec: 1.0\ndevices: {a: {}}\n");
    assert_eq!(read(&main, None).unwrap().name, "a");
    assert!(read(dir.path(), None).unwrap_err().to_string().contains("it is no file"));
    let large = file("large.yaml", &"#".repeat(limits::VISA_FILE as usize + 1));
    assert!(read(&large, None).unwrap_err().to_string().contains("larger"));
    let bundled = file("bundled.yaml", "spec: 1.0\nresources: {ASRL1::INSTR: {device: a, bundled: true}}\n");
    assert!(read(&bundled, None).unwrap_err().to_string().contains("part of pyvisa-sim"));
}

proptest! {
    /// Whatever the file says, it is read or refused.
    #[test]
    fn no_text_does_harm(text in "(?s).{0,400}") {
        let _ = parse(&text, None);
    }

    /// The same for what nearly is one.
    #[test]
    fn no_nearly_right_file_does_harm(cut in 0..1200_usize, put in "[-:{}\\[\\]&*!|>'\"%@`# \n\ta1.?,]{0,6}") {
        let text = include_str!("../../../../../tests/golden/visa/supply.yaml");
        let mut at = cut.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        if let Ok(definition) = parse(&format!("{before}{put}{after}"), None) {
            super::super::device::Device::new(definition).hear(b"*IDN?\nVOLT 1.5\nVOLT?\nSYST:ERR?\n");
        }
    }
}
