//! What programs say of instruments, with who has each: that is known here, whatever its program says.
//!
//! **Promises.** Who has an instrument is looked up and published in one step. A change of a claim comes before or after
//! what a program says, so that neither undoes the other. Does not: know how an instrument of a source stands, which the
//! fold tells as a whole.

use super::instruments::Instruments;
use crate::bus::{Bus, Published, Refused};
use crate::model::Draft;
use serde_json::{Map, Value as Json};

const KIND: &str = "instrument_status";

impl Instruments {
    /// Publishes events from outside, those of instruments with who has them.
    ///
    /// # Errors
    /// As [`Bus::publish_all`]; nothing was published then.
    pub fn publish(
        &self,
        bus: &Bus,
        mut drafts: Vec<Draft>,
        key: Option<&str>,
    ) -> Result<Published, Refused> {
        if !drafts.iter().any(|draft| draft.kind() == KIND) {
            return bus.publish_all(drafts, key);
        }
        let _one_at_a_time = self.telling.lock().unwrap_or_else(|e| e.into_inner());
        for draft in drafts.iter_mut().filter(|draft| draft.kind() == KIND) {
            let id = draft.topic().as_str().strip_prefix("instrument/");
            if let Some(by) = id.and_then(|id| self.used_by(id)) {
                draft.insert("used_by", by.into());
            }
        }
        bus.publish_all(drafts, key)
    }

    /// Somebody took or gave back an instrument that a program speaks for: what was said last is told with who has it now.
    pub(super) fn retell(&self, bus: &Bus, id: &str) {
        let _one_at_a_time = self.telling.lock().unwrap_or_else(|e| e.into_inner());
        let Some(event) = bus.state_of(&format!("{KIND}/{id}")) else { return };
        let Ok(mut told) = serde_json::from_str::<Map<String, Json>>(event.payload()) else { return };
        match self.used_by(id) {
            Some(by) => told.insert("used_by".into(), by.into()),
            None => told.remove("used_by"),
        };
        super::publish(bus, KIND, &told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Start;
    use crate::model::TopicFilter;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn said(value: u64) -> Draft {
        let payload = json!({
            "instrument_id": "oven", "instrument_name": "Oven", "status": "connected",
            "timestamp": "2026-01-07T15:30:00.000Z", "settings": { "value": value }
        });
        Draft::checked(KIND, None, payload).unwrap()
    }

    /// A change of a claim told what the program had said before as the newest, and a program that looked who has its
    /// instrument just before a change told the old one.
    #[test]
    fn claims_and_what_a_program_says_do_not_undo_each_other() {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default()));
        let instruments = Arc::new(Instruments::default());
        let (teller, of) = (Arc::clone(&bus), Arc::downgrade(&instruments));
        instruments.on_claim(move |id, _| {
            if let Some(instruments) = of.upgrade() {
                instruments.retell(&teller, id);
            }
        });
        let told = || -> Json {
            let event = bus.state_of("instrument_status/oven").unwrap();
            serde_json::from_str(event.payload()).unwrap()
        };
        instruments.publish(&bus, vec![said(0)], None).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut value = 0;
                while !over.load(Ordering::Relaxed) {
                    value += 1;
                    instruments.publish(&bus, vec![said(value)], None).unwrap();
                    assert_eq!(told()["settings"]["value"], value);
                }
            });
            let wrong = (0..2_000).find_map(|n| {
                let by = format!("SCAN_{n}");
                instruments.claim(&["oven".to_string()], &by).unwrap();
                let claimed = told();
                instruments.release(&by);
                let released = told();
                let right = claimed["used_by"] == *by && released.get("used_by").is_none();
                (!right).then_some((by, claimed, released))
            });
            over.store(true, Ordering::Relaxed);
            assert_eq!(wrong, None);
        });
    }

    #[test]
    fn what_a_program_says_goes_out_with_who_has_the_instrument() {
        let bus = Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default());
        let instruments = Instruments::default();
        instruments.claim(&["oven".to_string()], "SCAN_001").unwrap();
        instruments.publish(&bus, vec![said(1), said(2)], None).unwrap();
        let all = bus.snapshot(&TopicFilter::parse("instrument/*").unwrap()).state;
        let told: Json = serde_json::from_str(all[0].payload()).unwrap();
        assert_eq!((&told["used_by"], &told["settings"]["value"]), (&json!("SCAN_001"), &json!(2)));
    }
}
