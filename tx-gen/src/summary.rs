//! A report as a table for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::report::{Ended, Latency, Report};

/// A whole number with commas.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn latency(latency: &Latency) -> String {
    if latency.count == 0 {
        return "none".to_owned();
    }
    let Latency { p50, p90, p99, p999, max, .. } = latency;
    format!("p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms")
}

/// The figures of a report, by name.
pub fn rows(report: &Report) -> Vec<(String, String)> {
    let count = |value: u64| grouped(value as f64);
    let totals = &report.totals;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    let pace = match (report.rate, report.in_flight) {
        (Some(rate), _) => format!("open loop at {} a second", count(rate)),
        (None, Some(bound)) => format!("closed loop, {} in flight per connection", count(bound)),
        (None, None) => "closed loop, held back by flow control".to_owned(),
    };
    row("pace", pace);
    let ended = match report.ended {
        Ended::Time => "time over",
        Ended::LoadUsedUp => "load used up",
        Ended::Stopped => "stopped",
        Ended::Failed => "failed",
    };
    row(
        "measured",
        format!("{:.2} s after {:.0} s of warm-up, {ended}", report.measured_seconds, report.warm_up_seconds),
    );
    row("sent", format!("{} a second, {} in all", grouped(report.per_second.sent), count(totals.sent)));
    if !report.without_answers {
        let rates = &report.per_second;
        row("accepted", format!("{} a second, {} in all", grouped(rates.accepted), count(totals.accepted)));
        row("final", format!("{} a second, {} in all", grouped(rates.finalized), count(totals.finalized)));
        row("applied", format!("{} a second, {} in all", grouped(rates.applied), count(totals.applied)));
        row("rejected", format!("{} a second, {} in all", grouped(rates.rejected), count(totals.rejected)));
        row("failed, skipped", format!("{}, {}", count(totals.failed), count(totals.skipped)));
        row("unanswered", count(report.unanswered));
        row("latency to final", latency(&report.latency_final_ms));
        row("latency to applied", latency(&report.latency_applied_ms));
    }
    for (code, number) in &report.codes {
        row(&format!("code {code}"), count(*number));
    }
    if report.reconnects > 0 {
        row("reconnects", count(report.reconnects));
    }
    row("bytes per transaction", format!("{:.1}", report.bytes_per_transaction));
    if let Some(nanoseconds) = report.client_cpu_ns_per_transaction {
        row("tx-gen's own work", format!("{nanoseconds:.0} ns of a core per transaction"));
    }
    rows
}

/// The table of a report, its notes and its failure.
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["flood".to_owned(), report.to.clone()]);
    for (name, value) in rows(report) {
        table.add_row([name, value]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    let mut text = table.to_string();
    for note in report.notes() {
        text.push_str(&format!("\nNote: {note}."));
    }
    if let Some(failure) = &report.failure {
        text.push_str(&format!("\nFailed: {}.", failure.message));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned),
            [0.0, 999.0, 999.6, 1_234_567.0].map(grouped)
        );
    }
}
