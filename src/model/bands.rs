//! The limits of a value: a warning band inside an alarm band. Pure.

use super::Severity;
use serde::Serialize;

/// Limits; what is not set has none. A value on a limit is still good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bands {
    /// Below this it is MAJOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_alarm: Option<f64>,
    /// Below this it is MINOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Above this it is MINOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Above this it is MAJOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_alarm: Option<f64>,
}

impl Bands {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        *self == Bands::default()
    }

    /// How bad a value is, and the limit it is beyond.
    pub fn judge(&self, value: f64) -> (Severity, Option<f64>) {
        let beyond = |limit: Option<f64>, is: fn(f64, f64) -> bool| limit.filter(|limit| is(value, *limit));
        let under = |a: f64, b: f64| a < b;
        let over = |a: f64, b: f64| a > b;
        if let Some(limit) = beyond(self.low_alarm, under).or(beyond(self.high_alarm, over)) {
            (Severity::Major, Some(limit))
        } else if let Some(limit) = beyond(self.low, under).or(beyond(self.high, over)) {
            (Severity::Minor, Some(limit))
        } else {
            (Severity::NoAlarm, None)
        }
    }

    /// The first two limits that are in the wrong order, by name.
    pub fn disorder(&self) -> Option<(&'static str, &'static str)> {
        let all = [
            ("low_alarm", self.low_alarm),
            ("low", self.low),
            ("high", self.high),
            ("high_alarm", self.high_alarm),
        ];
        let set: Vec<_> = all.iter().filter_map(|(name, limit)| Some((*name, (*limit)?))).collect();
        set.windows(2).find(|two| two[0].1 >= two[1].1).map(|two| (two[0].0, two[1].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_by_the_nearest_band() {
        let bands = Bands { low_alarm: Some(1.0), low: Some(2.0), high: Some(8.0), high_alarm: Some(9.0) };
        let of = |value| bands.judge(value);
        assert_eq!(of(5.0), (Severity::NoAlarm, None));
        assert_eq!(of(8.0), (Severity::NoAlarm, None));
        assert_eq!(of(8.5), (Severity::Minor, Some(8.0)));
        assert_eq!(of(9.5), (Severity::Major, Some(9.0)));
        assert_eq!(of(1.5), (Severity::Minor, Some(2.0)));
        assert_eq!(of(0.5), (Severity::Major, Some(1.0)));
        assert_eq!(bands.disorder(), None);
        assert_eq!(Bands { low: Some(9.0), ..bands }.disorder(), Some(("low", "high")));
    }
}
