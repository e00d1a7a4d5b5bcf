//! What came of the scenarios, for people as a table and for programs as JSON.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::ledger::Ledger;
use super::switch::SwitchCounts;
use crate::wallet::WalletCounts;

/// A measured value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, with its unit last.
    pub name: String,
    /// How much.
    pub value: f64,
    /// What it should be at the most; none where nothing is asked of it.
    pub at_most: Option<f64>,
}

impl Figure {
    /// A value that is only told.
    pub fn new(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, at_most: None }
    }

    /// A value that should be at most `at_most`.
    pub fn at_most(name: &str, value: f64, at_most: f64) -> Self {
        Self { at_most: Some(at_most), ..Self::new(name, value) }
    }

    /// Whether it is more than it should be.
    pub fn is_missed(&self) -> bool {
        self.at_most.is_some_and(|at_most| self.value > at_most)
    }

    fn text(&self) -> String {
        let value = if self.value.fract() == 0.0 { format!("{:.0}", self.value) } else { format!("{:.2}", self.value) };
        match self.at_most {
            Some(at_most) if self.is_missed() => format!("{} {value} MISSED, asked: {at_most}", self.name),
            Some(at_most) => format!("{} {value} of {at_most}", self.name),
            None => format!("{} {value}", self.name),
        }
    }
}

/// What came of one scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What the clients did and heard.
    pub clients: WalletCounts,
    /// Reports of final transactions.
    pub finals: u64,
    /// What lay on the disks at the end.
    pub ledger: Ledger,
    /// Packets between the machines.
    pub packets: SwitchCounts,
    /// What must not be; empty when the scenario passed.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether nothing was violated.
    pub fn is_passed(&self) -> bool {
        self.violations.is_empty()
    }

    fn verdict(&self) -> &'static str {
        match (self.is_passed(), self.figures.iter().any(Figure::is_missed)) {
            (false, _) => "VIOLATED",
            (true, true) => "held, too slow",
            (true, false) => "held",
        }
    }
}

/// The table of all scenarios.
pub fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(140);
    table.set_header(["scenario", "", "s", "reported final", "height", "measured"]);
    for outcome in outcomes {
        let figures: Vec<String> = outcome.figures.iter().map(Figure::text).collect();
        table.add_row([
            outcome.scenario.clone(),
            outcome.verdict().to_owned(),
            format!("{:.0}", outcome.seconds),
            outcome.finals.to_string(),
            outcome.ledger.height.to_string(),
            figures.join("\n"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_tells_slow_from_wrong() {
        let mut outcome = Outcome { figures: vec![Figure::at_most("caught up s", 20.0, 20.0)], ..Outcome::default() };
        assert_eq!((outcome.verdict(), outcome.figures[0].text().as_str()), ("held", "caught up s 20 of 20"));
        outcome.figures.push(Figure::at_most("gap s", 2.5, 2.0));
        assert_eq!((outcome.verdict(), outcome.is_passed()), ("held, too slow", true));
        assert_eq!(outcome.figures[1].text(), "gap s 2.50 MISSED, asked: 2");
        outcome.violations.push("a fork".to_owned());
        assert_eq!((outcome.verdict(), outcome.is_passed()), ("VIOLATED", false));
        assert!(table(&[outcome]).to_string().contains("VIOLATED"));
    }
}
