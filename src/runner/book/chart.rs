//! A measurement as a chart.
