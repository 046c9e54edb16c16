//! Receivers that are played: sentences, fixes, golden logs, noise and flipped bytes.

use super::super::script::{Rig, golden, ms};
use super::*;
use proptest::prelude::*;
use std::fmt::Write;

fn sentence(body: &str) -> Vec<u8> {
    let start = if body.starts_with("AI") { '!' } else { '$' };
    format!("{start}{body}*{:02X}\r\n", checksum(body.as_bytes())).into_bytes()
}

fn rig(change: impl FnOnce(&mut config::Nmea)) -> Rig<Nmea> {
    let mut config = config::Nmea::default();
    change(&mut config);
    let mut rig = Rig::new(Nmea::new(&config));
    rig.open(&mut |_| Vec::new());
    rig
}

/// One moment: the sentences at once, then a pause.
fn say(rig: &mut Rig<Nmea>, bodies: &[&str]) -> Vec<String> {
    for body in bodies {
        rig.hear(&sentence(body));
    }
    rig.run(ms(1000), &mut |_| Vec::new());
    rig.said(&["heard", "count sentences", "detail"])
}

const GGA: &str = "GNGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,";

#[test]
fn one_moment_is_one_update() {
    let mut rig = rig(|_| {});
    let said = say(
        &mut rig,
        &[
            "GNRMC,092725.00,A,4717.11399,N,00833.91590,E,0.004,77.52,091226,,,A",
            GGA,
            "GNGSA,A,3,23,29,07,08,09,18,26,28,,,,,1.94,1.18,1.54",
            "GPGSV,1,1,02,23,38,230,44,29,71,156,47",
            "GLGSV,1,1,03,67,29,044,33,68,65,112,38,69,27,191,30",
            "GNGLL,4717.11399,N,00833.91590,E,092725.00,A,A",
        ],
    );
    assert_eq!(
        said,
        [
            "readings fix=Text(\"3D\"), altitude=Number(499.6) m, course=Number(77.52) deg, hdop=Number(1.01), \
             lat=Number(47.28523317) deg, lon=Number(8.56526500) deg, satellites_used=Number(8.0), speed=Number(0.002) m/s, \
             satellites_in_view=Number(5.0), time=Text(\"2026-12-09T09:27:25.000Z\")"
                .replace("8.56526500", "8.565265")
        ]
    );
}

#[test]
fn without_a_fix_there_is_no_position_and_no_time() {
    let mut rig = rig(|_| {});
    say(&mut rig, &[GGA]);
    let said = say(
        &mut rig,
        &[
            "GPGGA,092726.00,4717.11399,N,00833.91590,E,0,00,99.9,499.6,M,48.0,M,,",
            "GPRMC,092726.00,V,4717.11399,N,00833.91590,E,0.0,0.0,060180,,,N",
        ],
    );
    assert_eq!(
        said,
        [
            "readings fix=Text(\"none\"), altitude=Missing(Nan) m, course=Missing(Nan) deg, hdop=Missing(Nan), lat=Missing(Nan) deg, \
             lon=Missing(Nan) deg, satellites_used=Number(0.0), speed=Missing(Nan) m/s, time=Missing(Nan)"
        ]
    );
    // With a fix, but a date of two GPS rollovers ago.
    let said = say(&mut rig, &["GPRMC,092727.00,A,4717.11399,N,00833.91590,E,0.0,0.0,060106,,,A"]);
    assert!(
        said[0].contains("lat=Number(47.28523317) deg") && said[0].ends_with("time=Missing(Nan)"),
        "{said:?}"
    );
}

#[test]
fn kinds_of_a_fix() {
    let mut rig = rig(|c| c.values = vec!["fix".into()]);
    for (quality, word) in [
        ('0', "none"),
        ('1', "fix"),
        ('2', "DGPS"),
        ('3', "PPS"),
        ('4', "RTK"),
        ('5', "RTK float"),
        ('6', "estimated"),
    ] {
        let gga = GGA.replace(",1,08,", &format!(",{quality},08,"));
        assert_eq!(say(&mut rig, &[&gga]), [format!("readings fix=Text({word:?})")]);
    }
    let gsa = |mode| format!("GPGSA,A,{mode},23,29,07,08,,,,,,,,,1.94,1.18,1.54");
    assert_eq!(say(&mut rig, &[GGA, &gsa(2), &gsa(3)]), ["readings fix=Text(\"3D\")"]);
    assert_eq!(say(&mut rig, &[GGA, &gsa(3), &gsa(2)]), ["readings fix=Text(\"3D\")"]);
    assert_eq!(say(&mut rig, &[&gsa(2)]), ["readings fix=Text(\"2D\")"]);
    assert_eq!(say(&mut rig, &[&gsa(1)]), ["readings fix=Text(\"none\")"]);
    assert_eq!(say(&mut rig, &["GPGLL,4717.1,N,00833.9,E,092725.00,V,N"]), ["readings fix=Text(\"none\")"]);
}

#[test]
fn updates_keep_to_the_interval() {
    let mut rig = rig(|c| c.values = vec!["altitude".into()]);
    let mut updates = Vec::new();
    // Ten moments a second for five seconds.
    for n in 0..50 {
        let gga = GGA.replace("092725.00", &format!("0927{:02}.{}0", n / 10, n % 10));
        rig.hear(&sentence(&gga.replace("499.6", &format!("{}", 500 + n))));
        rig.run(ms(100), &mut |_| Vec::new());
        updates.extend(rig.said(&["heard", "count", "detail"]));
    }
    rig.run(ms(2000), &mut |_| Vec::new());
    updates.extend(rig.said(&["heard", "count", "detail"]));
    assert!((5..=8).contains(&updates.len()), "{updates:?}");
    assert_eq!(updates.last().unwrap(), "readings altitude=Number(549.0) m", "the last one is not lost");
    // One a second at an interval of a second: each, although their seconds are not ours.
    for n in 0..10u64 {
        rig.hear(&sentence(&GGA.replace("092725.00", &format!("1027{n:02}.00"))));
        rig.run(ms(if n % 2 == 0 { 950 } else { 1050 }), &mut |_| Vec::new());
    }
    assert_eq!(rig.said(&["heard", "count", "detail"]).len(), 10);
}

/// At 4800 baud a sentence takes longer than the pause that ends a moment.
#[test]
fn a_slow_line_does_not_tear_a_moment_apart() {
    let mut rig = rig(|_| {});
    let gsa = "GNGSA,A,3,05,13,15,20,24,28,30,,,,,,2.01,1.02,1.73";
    let all = [sentence(GGA), sentence(gsa), sentence("GPGSV,1,1,02,23,38,230,44,29,71,156,47")].concat();
    for byte in all {
        rig.hear(&[byte]);
        rig.run(ms(2), &mut |_| Vec::new());
    }
    rig.run(ms(500), &mut |_| Vec::new());
    let said = rig.said(&["heard", "count", "detail"]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("3D") && said[0].contains("satellites_in_view=Number(2.0)"), "{said:?}");
    // One that never pauses and tells no time is published all the same.
    for _ in 0..50 {
        rig.hear(&sentence("IIHDT,1.0,T"));
        rig.run(ms(100), &mut |_| Vec::new());
    }
    let said = rig.said(&["heard", "count", "detail"]);
    assert!((2..=3).contains(&said.len()), "{said:?}");
}

#[test]
fn checksums_may_be_optional_but_never_wrong() {
    let mut strict = rig(|_| {});
    strict.hear(b"$GPHDT,12.5,T\r\n");
    assert_eq!(strict.took(), ["count no_checksum 1", "bad \"$GPHDT,12.5,T\": it has no checksum"]);
    let mut lax = rig(|c| c.checksum = "optional".into());
    lax.hear(b"$GPHDT,12.5,T\r\n$GPHDT,13.5,T*00\r\n");
    lax.run(ms(500), &mut |_| Vec::new());
    assert_eq!(
        lax.said(&["detail"]),
        [
            "count sentences 1",
            "heard",
            "count bad_checksum 1",
            "bad \"$GPHDT,13.5,T*00\": it has a wrong checksum",
            "readings heading=Number(12.5) deg",
        ]
    );
}

#[test]
fn instruments_of_a_boat() {
    let mut rig = rig(|_| {});
    let said = say(
        &mut rig,
        &[
            "SDDPT,3.6,-0.4,",
            "YXMTW,17.5,C",
            "WIMWV,214.8,R,10.0,N,A",
            "WIMWV,9.0,T,3.6,K,A",
            "WIMWV,1.0,R,99,N,V",
        ],
    );
    assert_eq!(
        said,
        [
            "readings depth=Number(3.2) m, water_temperature=Number(17.5) degC, wind_angle=Number(214.8) deg, wind_direction=Number(9.0) deg, wind_speed=Number(1.0) m/s"
        ]
    );
}

/// Logs in tests/golden/nmea, played in chunks of all sizes: every good sentence is counted, none is invented.
#[test]
fn golden_logs() {
    for (name, good) in [
        ("ublox-cold-start", 124),
        /* 18 that make sense, and one whose checksum is right */ ("troubles", 19),
    ] {
        let path = format!("{}/tests/golden/nmea/{name}.nmea", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let mut outcomes = Vec::new();
        for size in [1, 2, 3, 7, 16, 61, 1024] {
            let mut rig = rig(|c| c.interval = Duration::ZERO);
            for chunk in bytes.chunks(size) {
                rig.hear(chunk);
            }
            rig.run(ms(1000), &mut |_| Vec::new());
            rig.close();
            let mut counts = BTreeMap::new();
            let mut out = String::new();
            for action in &rig.actions {
                match action {
                    Action::Count(name, n) => *counts.entry(*name).or_insert(0) += n,
                    Action::Heard | Action::Detail(..) => {}
                    other => writeln!(out, "{}", super::super::script::shown(other)).unwrap(),
                }
            }
            writeln!(out, "{}", serde_json::json!(rig.protocol.types)).unwrap();
            writeln!(out, "{}", serde_json::json!(counts)).unwrap();
            assert_eq!(counts["sentences"], good, "{name} in chunks of {size}");
            outcomes.push(out);
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{name}: chunks matter");
        golden(&format!("nmea/{name}"), &outcomes[0]);
    }
}

proptest! {
    /// Good sentences with any noise around them that has no line end: each is found, and nothing else.
    #[test]
    fn noise_between(noise in proptest::collection::vec("[^$!\r\n\\PC]{0,30}", 5), cut in 1usize..40) {
        let mut rig = rig(|_| {});
        let mut all = Vec::new();
        for noise in &noise {
            all.extend(noise.as_bytes());
            all.extend(sentence("GPHDT,12.5,T"));
        }
        for chunk in all.chunks(cut) {
            rig.hear(chunk);
        }
        prop_assert_eq!(rig.protocol.types.clone(), [("GPHDT".to_string(), 5)].into());
    }

    /// A sentence of which one byte is another is never taken, unless it makes the same sum at the same place.
    #[test]
    fn a_flipped_byte_is_seen(at in 1usize..70, with in 0x20u8..0x7f) {
        let mut bytes = sentence(GGA);
        let at = at.min(bytes.len() - 6);
        prop_assume!(bytes[at] != with && with != b'$' && with != b'!' && with != b'*');
        bytes[at] = with;
        let mut rig = rig(|_| {});
        rig.hear(&bytes);
        prop_assert!(rig.protocol.types.is_empty());
    }

    #[test]
    fn anything_at_all(bytes in proptest::collection::vec(prop_oneof![Just(b'$'), Just(b'*'), Just(b','), Just(b'\n'), any::<u8>()], 0..600)) {
        let mut rig = rig(|_| {});
        for chunk in bytes.chunks(97) {
            rig.hear(chunk);
        }
        rig.run(ms(5000), &mut |_| Vec::new());
        rig.close();
    }

    /// Fields of any kind, with the right checksum.
    #[test]
    fn any_fields(kind in prop::sample::select(vec!["GPGGA", "GNRMC", "GPGLL", "GNGNS", "GPVTG", "GNGSA", "GPGSV", "GPZDA", "SDDPT", "WIMWV", "IIHDT", "YXMTW"]), fields in proptest::collection::vec("[0-9A-Z.+-]{0,9}|nan|inf|1e400", 0..22)) {
        let mut rig = rig(|c| c.interval = Duration::ZERO);
        rig.hear(&sentence(&format!("{kind},{}", fields.join(","))));
        rig.run(ms(1000), &mut |_| Vec::new());
        for action in &rig.actions {
            if let Action::Readings(readings) = action {
                for reading in readings {
                    if let Value::Number(n) = reading.value { prop_assert!(n.is_finite()); }
                }
            }
        }
    }
}
