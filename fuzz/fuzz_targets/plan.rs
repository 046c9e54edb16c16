//! Any JSON as the description of a scan: a plan that can be walked, or faults.
#![no_main]

use std::time::Duration;
use telltale::runner::plan::{Bench, Walk, compile, describe_steps};
use telltale::sources::{ChannelOffer, Offer};

/// One instrument, `a`, with one channel, `b`, from 0 to 1; one output, `c`.
struct One;

impl Bench for One {
    fn instrument(&self, id: &str) -> Option<Offer> {
        let channel = ChannelOffer {
            name: "b".into(),
            settable: true,
            readable: true,
            min: Some(0.0),
            max: Some(1.0),
            ..ChannelOffer::default()
        };
        (id == "a").then(|| Offer { id: id.into(), channels: vec![channel], queries: true, ..Offer::default() })
    }

    fn is_output(&self, gpio: &str) -> bool {
        gpio == "c"
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(description) = serde_json::from_slice(data) else { return };
    match compile(&description, &One, 1_000) {
        Ok(plan) => {
            describe_steps(&plan);
            let mut walk = Walk::new(&plan);
            let _ = (0..10_000).take_while(|_| walk.next(Duration::ZERO).is_some()).count();
            assert!(compile(&plan.description, &One, 1_000).is_ok());
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
});
