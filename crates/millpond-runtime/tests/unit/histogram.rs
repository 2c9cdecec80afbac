//! How exact a histogram is.

use super::*;

fn counted(spans: &[u64]) -> Vec<(f64, u64)> {
    let histogram = Histogram::new();
    spans.iter().for_each(|nanos| histogram.add(*nanos));
    histogram.classes().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_span_is_reported_at_most_3_2_percent_off() {
    let mut nanos = 1_u64;
    while nanos < 1 << 43 {
        for span in [nanos, nanos + nanos / 3, nanos * 2 - 1] {
            let counted = counted(&[span]);
            let off = (counted[0].0 - span as f64).abs() / span as f64;
            assert!(
                counted.len() == 1 && off <= 0.032,
                "{span} ns was reported as {} ns",
                counted[0].0
            );
        }
        nanos *= 2;
    }
    assert_eq!(counted(&[0]), [(0.0, 1)]);
    assert_eq!(counted(&[u64::MAX]).len(), 1);
}

#[test]
fn equal_spans_are_reported_together_and_in_order() {
    let counted = counted(&[5, 1_000_000, 5, 1_000_001]);
    assert_eq!(counted.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 2]);
    assert!(counted[0].0 < counted[1].0);
}

#[test]
fn classes_follow_one_another_without_a_gap() {
    let mut last = 0;
    for nanos in 0..100_000 {
        let class = class(nanos);
        assert!(class == last || class == last + 1, "{nanos}");
        last = class;
    }
}
