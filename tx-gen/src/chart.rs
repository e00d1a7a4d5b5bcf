//! A line chart as inline SVG: axes, grid, one line per series. Nothing is loaded from anywhere.
//!
//! Colours come from CSS variables of the page, so that one drawing serves light and dark. Points without a value (a second in which
//! nothing was answered) break the line. Throughput is drawn from zero; latency on a logarithmic scale, because its tail is
//! what matters and is often a hundred times the median.

use std::fmt::Write;

/// Width of the drawing in its own units; the page scales it.
pub(crate) const WIDTH: f64 = 960.0;
/// Height of the drawing.
pub(crate) const HEIGHT: f64 = 300.0;
/// Where the plot begins from the left, room for labels.
pub(crate) const LEFT: f64 = 70.0;
/// Where the plot ends on the right.
pub(crate) const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 28.0;
/// The most points drawn of a line: more than the drawing has pixels.
const POINTS_MAX: usize = 2_000;

/// A line: what it is called, the CSS variable of its colour, and a value a second.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub name: &'static str,
    pub colour: &'static str,
    pub values: Vec<Option<f64>>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(scale: Scale, lines: &[Line]) -> Self {
        let values =
            || lines.iter().flat_map(|line| line.values.iter().flatten().copied()).filter(|value| *value > 0.0);
        let max = values().fold(0.0, f64::max);
        match scale {
            Scale::Linear => {
                let step = nice_step(max.max(1.0) / 5.0);
                let count = (max.max(1.0) / step).ceil() as u32;
                let ticks = (0..=count).map(|tick| f64::from(tick) * step).collect();
                Self { scale, low: 0.0, high: f64::from(count) * step, ticks }
            }
            Scale::Logarithmic => {
                let min = values().fold(f64::INFINITY, f64::min);
                let (min, max) = if min.is_finite() { (min, max) } else { (1.0, 10.0) };
                let (first, last) = (min.log10().floor() as i32, (max.log10().floor() as i32) + 1);
                let ticks = (first..=last).map(|power| 10f64.powi(power)).collect();
                Self { scale, low: f64::from(first), high: f64::from(last), ticks }
            }
        }
    }

    fn y(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(1e-9).log10(),
        };
        BOTTOM - (place - self.low) / (self.high - self.low).max(1e-9) * (BOTTOM - TOP)
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// The horizontal place of second `second` of `seconds`.
fn x(second: f64, seconds: usize) -> f64 {
    LEFT + second / (seconds.max(2) - 1) as f64 * (RIGHT - LEFT)
}

/// A number for people: 1,250 as 1.25k, 2,000,000 as 2M.
pub(crate) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// Draws lines over seconds; `warm_up_seconds` are shaded.
pub(crate) fn draw(id: &str, label: &str, unit: &str, scale: Scale, warm_up_seconds: f64, lines: &[Line]) -> String {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let axis = Axis::new(scale, lines);
    let mut svg = format!(
        r#"<svg id="{id}" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" data-seconds="{seconds}">"#
    );
    if warm_up_seconds > 0.0 {
        let end = x(warm_up_seconds.min((seconds.max(2) - 1) as f64), seconds);
        let (width, height) = (end - LEFT, BOTTOM - TOP);
        let _ = write!(svg, r#"<rect class="warm" x="{LEFT}" y="{TOP}" width="{width:.1}" height="{height}"/>"#);
    }
    for &tick in &axis.ticks {
        let y = axis.y(tick);
        let (at, baseline, text) = (LEFT - 8.0, y + 4.0, short(tick));
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}"/>"#);
        let _ = write!(svg, r#"<text class="tick" x="{at}" y="{baseline:.1}" text-anchor="end">{text}{unit}</text>"#);
    }
    let step = nice_step((seconds.max(2) - 1) as f64 / 10.0).max(1.0) as usize;
    for second in (0..seconds).step_by(step) {
        let (at, baseline) = (x(second as f64, seconds), HEIGHT - 8.0);
        let _ = write!(svg, r#"<text class="tick" x="{at:.1}" y="{baseline}" text-anchor="middle">{second}s</text>"#);
    }
    for line in lines {
        let path = path(line, seconds, &axis);
        let _ = write!(svg, r#"<path class="line" style="stroke:var({})" d="{path}"/>"#, line.colour);
    }
    let _ = write!(svg, r#"<line class="cursor" x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{BOTTOM}"/></svg>"#);
    svg
}

fn path(line: &Line, seconds: usize, axis: &Axis) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    let step = line.values.len().div_ceil(POINTS_MAX).max(1);
    for (second, value) in line.values.iter().enumerate().step_by(step) {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let command = if is_drawing { 'L' } else { 'M' };
        let _ = write!(path, "{command}{:.1} {:.1}", x(second as f64, seconds), axis.y(*value));
        // A point alone is drawn as a dot by a line of no length with round ends.
        if !is_drawing {
            path.push_str("h0");
        }
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_nice_and_numbers_short() {
        assert_eq!([nice_step(0.7), nice_step(1.0), nice_step(130.0), nice_step(2_100.0)], [1.0, 1.0, 200.0, 5_000.0]);
        assert_eq!(
            ["0", "12.5", "1.25k", "2M"],
            [short(0.0), short(12.5), short(1_250.0), short(2e6)].each_ref().map(|s| s.as_str())
        );
        assert_eq!(short(100.0), "100");
    }

    #[test]
    fn gaps_break_the_line_and_values_stay_inside() {
        let line = Line { name: "a", colour: "--a", values: vec![Some(1.0), None, Some(5_000.0), Some(3.0)] };
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let axis = Axis::new(scale, std::slice::from_ref(&line));
            let path = path(&line, 4, &axis);
            assert_eq!(path.matches('M').count(), 2);
            for value in [1.0, 3.0, 5_000.0] {
                assert!((TOP - 0.01..=BOTTOM + 0.01).contains(&axis.y(value)), "{scale:?} {value}");
            }
        }
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            assert!(draw("c", "nothing", "", scale, 0.0, &[]).ends_with("</svg>"));
        }
    }
}
