//! Samples as the perf contract wants them. Pure.

use std::fmt::Write as _;

/// How far beyond the quartiles a sample is an outlier, in interquartile ranges.
const FENCE: f64 = 1.5;

/// One section of the result: quartiles of all samples, extremes of those that are no outliers.
pub(super) fn section(name: &str, samples: &[f64], unit: &str, digits: usize) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (q1, q3) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let reach = FENCE * (q3 - q1);
    let is_usual = |it: &&f64| (q1 - reach..=q3 + reach).contains(*it);
    let usual: Vec<f64> = sorted.iter().filter(is_usual).copied().collect();
    let outliers: Vec<f64> = sorted.iter().filter(|it| !is_usual(it)).copied().collect();
    let list = |all: &[f64]| {
        let texts: Vec<_> = all.iter().map(|it| format!("{it:.digits$}")).collect();
        format!("[{}]", texts.join(", "))
    };
    let mut text = format!("{name}:\n  iterations: {}\n", samples.len());
    for (key, value) in [
        ("min", usual.first().copied().unwrap_or_default()),
        ("q1", q1),
        ("median", quantile(&sorted, 0.5)),
        ("q3", q3),
        ("max", usual.last().copied().unwrap_or_default()),
    ] {
        let _fits = writeln!(text, "  {key}: {value:.digits$}");
    }
    let _fits = writeln!(text, "  outliers: {}", list(&outliers));
    let _fits = writeln!(text, "  samples: {}", list(&sorted));
    let _fits = writeln!(text, "  unit: {unit}");
    text
}

/// Between the two nearest samples in proportion; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are a hundred samples or so"
    )]
    let place = share * last as f64;
    let at = |index: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between zero and the last index"
        )]
        let index = index as usize;
        sorted.get(index).copied().unwrap_or_default()
    };
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_what_the_contract_shows() {
        let text = section("upload", &[2.0, 1.0, 3.0, 4.0, 100.0], "Gbps", 2);

        let expected = "upload:
  iterations: 5
  min: 1.00
  q1: 2.00
  median: 3.00
  q3: 4.00
  max: 4.00
  outliers: [100.00]
  samples: [1.00, 2.00, 3.00, 4.00, 100.00]
  unit: Gbps
";
        assert_eq!(text, expected);
    }

    #[test]
    fn quantiles_lie_between_samples_in_proportion() {
        assert!((quantile(&[1.0, 2.0], 0.25) - 1.25).abs() < 1e-9);
        assert!((quantile(&[7.0], 0.75) - 7.0).abs() < 1e-9);
        assert!(quantile(&[], 0.5).abs() < 1e-9);
    }
}
