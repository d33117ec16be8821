// SPDX-License-Identifier: Apache-2.0
//! The table: medians, and ratios to the host.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;

/// Figures by row and target.
#[derive(Debug, Default)]
pub(crate) struct Report {
    order: Vec<String>,
    samples: BTreeMap<(String, String), Vec<f64>>,
}

impl Report {
    /// Notes one figure.
    pub(crate) fn add(&mut self, row: &str, target: &str, figure: f64) {
        if !self.order.iter().any(|known| known == row) {
            self.order.push(row.to_owned());
        }
        self.samples.entry((row.to_owned(), target.to_owned())).or_default().push(figure);
    }

    fn median(&self, row: &str, target: &str) -> Option<f64> {
        let mut samples = self.samples.get(&(row.to_owned(), target.to_owned()))?.clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }

    /// The table as text: the host in ns, the others as `ns (ratio)`.
    pub(crate) fn table(&self, targets: &[&str]) -> String {
        let mut text = format!("{:<25}", "row (ns; ratio)");
        for target in targets {
            // Writing to a string cannot fail.
            let _ = write!(text, " {target:>24}");
        }
        for row in &self.order {
            let host = self.median(row, "host");
            let _ = write!(text, "\n{row:<25}");
            for target in targets {
                let cell = match (self.median(row, target), host) {
                    (Some(figure), _) if *target == "host" => format!("{figure:.0}"),
                    (Some(figure), Some(host)) if host > 0.0 => {
                        format!("{figure:.0} ({:.2}x)", figure / host)
                    }
                    (Some(figure), _) => format!("{figure:.1}"),
                    (None, _) => "-".to_owned(),
                };
                let _ = write!(text, " {cell:>24}");
            }
        }
        text
    }

    /// All samples as JSON: `[{"row", "target", "median", "samples"}]`.
    pub(crate) fn json(&self) -> Result<String> {
        let rows: Vec<_> = self
            .samples
            .iter()
            .map(|((row, target), samples)| {
                serde_json::json!({"row": row, "target": target, "median": self.median(row, target), "samples": samples})
            })
            .collect();
        Ok(serde_json::to_string_pretty(&rows)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn the_median_is_shown_with_its_ratio() {
        let mut report = Report::default();
        for figure in [100.0, 300.0, 200.0] {
            report.add("stat", "host", figure);
            report.add("stat", "ours", figure * 2.0);
        }
        let table = report.table(&["host", "ours"]);
        assert!(table.contains("400 (2.00x)"), "{table}");
    }
}
