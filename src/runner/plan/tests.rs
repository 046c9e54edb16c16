//! Descriptions as people send them, and as nobody should: golden files and random ones.

use super::*;
use crate::sources::{ChannelOffer, Offer};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A bench as in a lab: a supply, a multimeter, a stage, an oven, a source that cannot be read, a relay.
struct Lab;

fn channel(name: &str, unit: Option<&str>, set: Option<(f64, f64)>, readable: bool) -> ChannelOffer {
    ChannelOffer {
        name: name.into(),
        unit: unit.map(str::to_string),
        settable: set.is_some(),
        readable,
        min: set.map(|(min, _)| min),
        max: set.map(|(_, max)| max),
        ..ChannelOffer::default()
    }
}

fn switch(name: &str) -> ChannelOffer {
    ChannelOffer {
        name: name.into(),
        settable: true,
        readable: true,
        words: vec!["off".into(), "on".into()],
        ..ChannelOffer::default()
    }
}

impl Bench for Lab {
    fn instrument(&self, id: &str) -> Option<Offer> {
        let (queries, channels) = match id {
            "psu" => (
                true,
                vec![
                    channel("voltage", Some("V"), Some((0.0, 30.0)), true),
                    channel("current", Some("A"), Some((0.0, 3.0)), true),
                    switch("output"),
                ],
            ),
            "dmm" => (true, vec![channel("voltage", Some("V"), None, true)]),
            "stage" => (
                true,
                vec![
                    channel("x", Some("mm"), Some((0.0, 250.0)), true),
                    channel("y", Some("mm"), Some((0.0, 250.0)), true),
                ],
            ),
            "oven" => (false, vec![channel("temp", Some("Cel"), None, true)]),
            "dac" => (false, vec![channel("out", None, Some((-10.0, 10.0)), false)]),
            "relay1" => (false, vec![switch("level")]),
            _ => return None,
        };
        Some(Offer { id: id.into(), name: id.into(), queries, channels, ..Offer::default() })
    }

    fn is_output(&self, gpio: &str) -> bool {
        gpio == "relay1"
    }

    fn names(&self) -> Vec<String> {
        ["dac", "dmm", "oven", "psu", "relay1", "stage"].map(String::from).to_vec()
    }
}

fn compiled(description: &Json) -> Result<Plan, Vec<Fault>> {
    compile(description, &Lab, 100_000)
}

/// All that a plan or its faults say, in lines.
fn told(result: &Result<Plan, Vec<Fault>>) -> String {
    let lines: Vec<String> = match result {
        Err(faults) => {
            faults.iter().map(|fault| format!("{}: {}: {}", fault.field, fault.code, fault.detail)).collect()
        }
        Ok(plan) => {
            let mut lines = vec![
                format!("name: {}", plan.name),
                format!("points: {}", plan.points_total.map_or("unknown".into(), |n| n.to_string())),
                format!("planned: {:.1} s", plan.planned.as_secs_f64()),
                format!("instruments: {}", plan.instruments.iter().cloned().collect::<Vec<_>>().join(" ")),
            ];
            for column in &plan.columns {
                lines.push(format!("column: {}", serde_json::to_string(column).unwrap()));
            }
            lines.extend(describe_steps(plan).into_iter().map(|line| format!("| {line}")));
            lines.push(format!("kept: {}", plan.description));
            lines
        }
    };
    lines.join("\n") + "\n"
}

/// Files in tests/golden/plans: `name.json` is a description, `name.out` what becomes of it.
#[test]
fn descriptions_give_what_their_files_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plans");
    let bless = std::env::var_os("TELLTALE_TEST_BLESS").is_some();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        seen += 1;
        let description: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let got = told(&compiled(&description));
        let out = path.with_extension("out");
        if bless {
            std::fs::write(&out, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(&out).unwrap_or_default(), "{}", path.display());
    }
    assert!(seen >= 12, "{seen} descriptions");
}

/// What docs/scans.md shows is what telltale takes.
#[test]
fn the_examples_of_the_documentation_are_taken() {
    let text = include_str!("../../../docs/scans.md");
    let examples: Vec<&str> =
        text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let plan = compiled(&serde_json::from_str(example).unwrap());
        assert!(plan.is_ok(), "{example}\n{plan:?}");
    }
}

fn codes(description: Json) -> Vec<(String, &'static str)> {
    compiled(&description)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|fault| (fault.field, fault.code))
        .collect()
}

#[test]
fn nobody_is_asked_after_the_last_point() {
    for place in ["after", "always", "on_pause"] {
        let mut description = json!({ "axes": [], "count": 1, "interval_s": 1, "measure": ["dmm.voltage"] });
        description[place] = json!([{ "prompt": "Put the sample back" }]);
        let found = codes(description);
        assert!(found.iter().any(|(field, _)| field.starts_with(place)), "{place}: {found:?}");
    }
}

#[test]
fn points_are_points_not_intervals() {
    let plan = |axis: Json| compiled(&json!({ "axes": [axis], "measure": ["dmm.voltage"] })).unwrap();
    let total = |axis: Json| plan(axis).points_total;
    assert_eq!(total(json!({"set":"psu.voltage","start":0,"stop":5,"points":6})), Some(6));
    assert_eq!(total(json!({"set":"psu.voltage","start":0,"stop":5,"step":1})), Some(6));
    // 0.3 / 0.1 is 2.9999999999999996 in binary.
    assert_eq!(total(json!({"set":"psu.voltage","start":0,"stop":0.3,"step":0.1})), Some(4));
    assert_eq!(total(json!({"set":"psu.voltage","start":5,"stop":0,"step":1})), Some(6));
    assert_eq!(total(json!({"set":"psu.voltage","start":5,"stop":0,"step":-1})), Some(6));
    assert_eq!(total(json!({"set":"psu.voltage","start":5,"points":1})), Some(1));
    let Step::Loop(stepped) = &plan(json!({"set":"psu.voltage","start":0,"stop":1,"step":0.3})).steps[0]
    else {
        panic!("no loop");
    };
    let Values::Even { stop, points, .. } = stepped.values else { panic!("{stepped:?}") };
    assert!((stop - 0.9).abs() < 1e-12 && points == 4, "{stop} {points}");
}

#[test]
fn a_step_that_was_set_wrong_is_refused_with_the_count() {
    let faults = compiled(&json!({
        "axes": [{"set":"stage.x","start":0,"stop":100,"step":0.0005}], "measure": ["dmm.voltage"],
    }))
    .unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].code, "too_many_points");
    assert!(faults[0].detail.contains("200001 points"), "{}", faults[0].detail);
    // As wrong as it can be.
    for (stop, step) in [(250.0, 5e-324), (250.0, f64::MIN_POSITIVE)] {
        let axis = json!({"set":"stage.x","start":0,"stop":stop,"step":step});
        let axes = json!([axis, {"set":"stage.y","start":0,"stop":1,"points":u64::MAX}]);
        let faults = codes(json!({"axes": axes, "measure":["dmm.voltage"], "repeat": u64::MAX}));
        assert_eq!(faults, [("axes".to_string(), "too_many_points")]);
    }
}

#[test]
fn on_and_off_have_many_names_and_numbers_have_none() {
    for value in [json!("on"), json!(true), json!(1), json!(1.0)] {
        let plan =
            compiled(&json!({"steps":[{"set":"psu.output","value":value},{"gpio":"relay1","value":value}]}));
        let steps = plan.unwrap().steps;
        assert!(matches!(&steps[0], Step::Set { to: Setting::Word(word), .. } if word == "on"), "{steps:?}");
        assert_eq!(steps[1], Step::Gpio { output: "relay1".into(), active: true });
    }
    assert_eq!(
        codes(json!({"steps":[{"set":"psu.voltage","value":"5"}]})),
        [("steps[0].value".to_string(), "wrong_type")]
    );
    assert_eq!(
        codes(json!({"steps":[{"set":"psu.output","value":2}]})),
        [("steps[0].value".to_string(), "unknown_word")]
    );
}

#[test]
fn samples_and_average_are_reads_per_point() {
    let measured = |extra: Json| {
        let mut description = json!({"measure":["dmm.voltage"],"count":1});
        description.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let plan = compiled(&description).map_err(|faults| faults[0].detail.clone())?;
        let Step::Loop(looped) = &plan.steps[0] else { return Err("no loop".to_string()) };
        let Step::Measure { samples, average, .. } = &looped.body[0] else { return Err("no point".into()) };
        Ok((*samples, *average))
    };
    assert_eq!(measured(json!({})), Ok((1, false)));
    assert_eq!(measured(json!({"samples":5})), Ok((5, true)));
    assert_eq!(measured(json!({"samples":5,"average":false})), Ok((5, false)));
    assert_eq!(measured(json!({"samples":5,"average":1})), Ok((5, false)));
    assert_eq!(measured(json!({"average":5})), Ok((5, true)));
    assert_eq!(measured(json!({"average":5,"samples":5})), Ok((5, true)));
    assert!(measured(json!({"average":5,"samples":4})).unwrap_err().contains("the same"));
}

#[test]
fn no_more_than_so_many_of_anything() {
    let measure = json!({"measure":["dmm.voltage"]});
    let many: Vec<Json> = (0..2_000).map(|_| measure.clone()).collect();
    assert!(codes(json!({ "steps": many })).iter().any(|(_, code)| *code == "too_many_steps"));
    let mut deep = measure.clone();
    for _ in 0..40 {
        deep = json!({"loop":{"count":2},"do":[deep]});
    }
    assert_eq!(codes(json!({"steps":[deep]})).iter().filter(|(_, code)| *code == "too_deep").count(), 1);
    let wrong: Vec<Json> = (0..300).map(|n| json!(format!("none.c{n}"))).collect();
    assert_eq!(codes(json!({"measure": wrong, "count": 1})), [("measure".to_string(), "out_of_range")]);
    let wrong: Vec<Json> = (0..300).map(|_| json!({"sett": 1})).collect();
    let faults = compiled(&json!({ "steps": wrong })).unwrap_err();
    assert_eq!(faults.len(), crate::limits::SCAN_FAULTS + 1);
    assert_eq!(faults.last().unwrap().code, "more");
}

#[test]
fn ids_and_channels_may_have_dots() {
    struct Dotted;
    impl Bench for Dotted {
        fn instrument(&self, id: &str) -> Option<Offer> {
            let channels = vec![channel("a.b", Some("V"), Some((0.0, 1.0)), true)];
            (id == "rack.1").then(|| Offer { id: id.into(), channels, ..Offer::default() })
        }
        fn is_output(&self, _: &str) -> bool {
            false
        }
    }
    let description = json!({"measure":["rack.1.a.b"],"count":1});
    let plan = compile(&description, &Dotted, 10).unwrap();
    assert_eq!(plan.columns[0].name, "rack.1.a.b");
    assert_eq!(plan.instruments.iter().collect::<Vec<_>>(), ["rack.1"]);
}

/// An instrument with a pause of half a second before each command was planned as one without.
#[test]
fn the_pause_before_each_exchange_is_planned() {
    struct Slow(Duration);
    impl Bench for Slow {
        fn instrument(&self, id: &str) -> Option<Offer> {
            let gap = if id == "psu" { self.0 } else { Duration::ZERO };
            Lab.instrument(id).map(|offer| Offer { gap, ..offer })
        }
        fn is_output(&self, gpio: &str) -> bool {
            Lab.is_output(gpio)
        }
    }
    let description = json!({
        "before": [{"set": "psu.output", "value": "on"}, {"query": "psu", "text": "*RST"}],
        "axes": [{"set": "psu.voltage", "start": 0, "stop": 5, "points": 10, "settle_s": 0.1}],
        "measure": ["dmm.voltage", "psu.current"],
        "samples": 2,
    });
    let planned = |gap| compile(&description, &Slow(gap), 100).unwrap().planned.as_secs_f64();
    // Two before; each of ten points sets once and reads the current twice.
    let more = planned(Duration::from_millis(500)) - planned(Duration::ZERO);
    assert!((more - 0.5 * (2.0 + 10.0 * 3.0)).abs() < 1e-6, "{more}");
}

/// Walks a plan on its schedule; every instruction is handed to `each`.
fn walk_all(plan: &Plan, mut each: impl FnMut(&Instruction)) -> u64 {
    let (mut walk, mut now, mut count) = (Walk::new(plan), Duration::ZERO, 0);
    while let Some(instruction) = walk.next(now) {
        if let Instruction::Checkpoint { due: Some(due), .. } = &instruction {
            now = now.max(*due);
        }
        count += u64::from(matches!(instruction, Instruction::Measure { .. }));
        each(&instruction);
    }
    count
}

/// Any JSON, with the words of a description in it more often than chance would have it.
fn any_json() -> impl Strategy<Value = Json> {
    const WORDS: &[&str] = &[
        "axes",
        "measure",
        "steps",
        "set",
        "start",
        "stop",
        "points",
        "step",
        "values",
        "loop",
        "do",
        "count",
        "duration_s",
        "interval_s",
        "settle",
        "settle_s",
        "gpio",
        "value",
        "wait_until",
        "channel",
        "above",
        "within",
        "of",
        "for_s",
        "timeout_s",
        "log",
        "query",
        "text",
        "prompt",
        "before",
        "always",
        "after",
        "on_error",
        "retry",
        "then",
        "abort_if",
        "repeat",
        "samples",
        "average",
        "max_points",
        "snake",
        "unit",
        "psu.voltage",
        "dmm.voltage",
        "psu.output",
        "psu",
        "relay1",
        "return",
        "stay",
        "endless",
        "on",
        "",
        "stage.x",
        "...",
        ".",
        "ü",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(str::to_string),
        1 => "\\PC{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-3_i64..10).prop_map(Json::from),
        word.clone().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map(word.clone(), inner, 0..8)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// An axis that is mostly right.
fn any_axis() -> impl Strategy<Value = Json> {
    let channel = prop::sample::select(vec!["psu.voltage", "psu.current", "stage.x", "stage.y", "dac.out"]);
    let range = (0.0_f64..3.0, 0.0_f64..3.0, 1_u64..12)
        .prop_map(|(start, stop, points)| json!({"start":start,"stop":stop,"points":points}));
    let step = (0.0_f64..3.0, 0.0_f64..3.0, 0.05_f64..2.0)
        .prop_map(|(start, stop, step)| json!({"start":start,"stop":stop,"step":step}));
    let list = prop::collection::vec(-1.0_f64..3.5, 1..6).prop_map(|values| json!({ "values": values }));
    (channel, prop_oneof![range, step, list], any::<bool>(), prop::option::of(0.0_f64..2.0)).prop_map(
        |(channel, mut axis, snake, settle)| {
            axis["set"] = channel.into();
            axis["snake"] = snake.into();
            axis["settle_s"] = settle.map_or(Json::Null, Json::from);
            axis
        },
    )
}

/// A short description that is mostly right.
fn any_short() -> impl Strategy<Value = Json> {
    let time = prop_oneof![
        (1_u64..30).prop_map(|count| json!({ "count": count })),
        (0.1_f64..50.0, 0.5_f64..10.0).prop_map(|(d, i)| json!({"duration_s":d,"interval_s":i})),
        (0.1_f64..50.0, 0.5_f64..10.0, 1_u64..9)
            .prop_map(|(d, i, c)| json!({"duration_s":d,"interval_s":i,"count":c})),
    ];
    let axes = prop::collection::vec(any_axis(), 1..4).prop_map(|axes| json!({ "axes": axes }));
    let interval = prop::option::of(0.1_f64..5.0);
    (prop_oneof![2 => axes, 1 => time], 1_u64..4, interval, prop::sample::select(vec!["stay", "return"]))
        .prop_map(|(mut description, repeat, interval, after)| {
            description["measure"] = json!(["dmm.voltage", "psu.current"]);
            description["repeat"] = repeat.into();
            description["after"] = after.into();
            if let Some(interval) = interval {
                description["interval_s"] = interval.into();
            }
            description
        })
}

proptest! {
    #[test]
    fn any_json_gives_a_plan_or_faults(description in any_json()) {
        match compiled(&description) {
            Ok(plan) => {
                let mut left = 500;
                let mut walk = Walk::new(&plan);
                while left > 0 && walk.next(Duration::from_secs(1)).is_some() {
                    left -= 1;
                }
                describe_steps(&plan);
                prop_assert!(compiled(&plan.description).is_ok(), "{}", plan.description);
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|fault| !fault.detail.is_empty()));
            }
        }
    }

    #[test]
    fn a_walk_has_as_many_points_as_the_plan_says_and_stays_within_the_description(description in any_short()) {
        let Ok(plan) = compiled(&description) else { return Ok(()) };
        let total = plan.points_total.unwrap();
        let mut ranges = std::collections::BTreeMap::new();
        for axis in description["axes"].as_array().into_iter().flatten() {
            let all: Vec<f64> = match axis["values"].as_array() {
                Some(values) => values.iter().filter_map(Json::as_f64).collect(),
                None => ["start", "stop"].iter().filter_map(|key| axis[key].as_f64()).collect(),
            };
            let low = all.iter().copied().fold(f64::INFINITY, f64::min);
            let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            ranges.insert(axis["set"].as_str().unwrap().to_string(), (low, high));
        }
        let mut outside = Vec::new();
        let mut next = 0;
        let count = walk_all(&plan, |instruction| match instruction {
            Instruction::Do(Step::Set { channel, to: Setting::Number(to), .. }) => {
                let (low, high) = ranges[&channel.to_string()];
                let offer = Lab.instrument(&channel.instrument).unwrap();
                let offer = offer.channel(&channel.channel).unwrap();
                if !(low - 1e-9..=high + 1e-9).contains(to) || !(offer.min.unwrap()..=offer.max.unwrap()).contains(to) {
                    outside.push((channel.to_string(), *to));
                }
            }
            Instruction::Checkpoint { point, .. } => assert_eq!(*point, next),
            Instruction::Measure { point, .. } => {
                assert_eq!(*point, next);
                next += 1;
            }
            Instruction::Do(_) => {}
        });
        prop_assert_eq!(count, total);
        prop_assert!(outside.is_empty(), "{:?}", outside);
    }

    #[test]
    fn what_is_kept_can_be_sent_again(description in any_short()) {
        let Ok(plan) = compiled(&description) else { return Ok(()) };
        prop_assert_eq!(compiled(&plan.description), Ok(plan));
    }

    #[test]
    fn a_step_is_never_overshot(start in 0.0_f64..250.0, stop in 0.0_f64..250.0, step in 0.01_f64..50.0) {
        let description = json!({
            "axes": [{"set":"stage.x","start":start,"stop":stop,"step":step}], "measure": ["dmm.voltage"],
        });
        let plan = compiled(&description).unwrap();
        let Step::Loop(Loop { values: Values::Even { stop: last, points, .. }, .. }) = &plan.steps[0] else {
            panic!("no loop");
        };
        prop_assert!((start.min(stop)..=start.max(stop)).contains(last), "{} in {} points", last, points);
        prop_assert!((stop - last).abs() < step, "{} is left", (stop - last).abs());
    }
}
