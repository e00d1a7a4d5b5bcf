//! Questions to a validator over HTTP.

use std::time::Duration;

use tana_cli::http::client::get;
use tana_cli::http::view::Health;

use super::network::Member;

/// How long one answer may take: validators are flooded while they are asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `/health` says; none when it does not answer.
pub fn health(member: &Member) -> Option<Health> {
    get(member.http, "/health", PATIENCE).ok()?.json().ok()
}

/// One counter or gauge of `/metrics`, by its name without labels.
pub fn metric(member: &Member, name: &str) -> Option<f64> {
    let page = get(member.http, "/metrics", PATIENCE).ok()?;
    metric_in(&page.body, name)
}

fn metric_in(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# HELP tana_a A.\ntana_a_total 7\ntana_a 2.5\n";
        assert_eq!(metric_in(page, "tana_a"), Some(2.5));
        assert_eq!(metric_in(page, "tana_a_total"), Some(7.0));
        assert_eq!(metric_in(page, "tana"), None);
    }
}
