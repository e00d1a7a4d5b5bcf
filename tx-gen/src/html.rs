//! A report as one self-contained page: figures, two charts, nothing loaded from anywhere.
//!
//! The page follows the reader's light or dark setting, is readable without scripts, and shows the values of a second when the
//! pointer is over a chart. The whole report is in the page as JSON, so a page that was kept can be evaluated again.

use std::fmt::Write;

use crate::chart::{LEFT, Line, RIGHT, Scale, WIDTH, draw};
use crate::report::{Report, SecondRow};
use crate::summary::{grouped, rows};

const STYLE: &str = "
:root{--back:#fff;--text:#1a1d21;--soft:#667;--edge:#dde;--panel:#f6f7f9;--sent:#8a94a6;--final:#2a6fdb;--applied:#12924a;--rejected:#c9372c;--bad:#fdecea}
@media(prefers-color-scheme:dark){:root{--back:#14171b;--text:#e6e8eb;--soft:#98a2b0;--edge:#2c323a;--panel:#1c2026;--sent:#7d8898;--final:#6ba4ff;--applied:#4fcf87;--rejected:#ff7b6f;--bad:#3a1f1d}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:24px;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 8px}p{margin:4px 0;color:var(--soft)}
.failure{background:var(--bad);color:var(--text);border-radius:8px;padding:10px 14px;margin:14px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:10px;margin:16px 0}
.tile{background:var(--panel);border:1px solid var(--edge);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
.plot{position:relative;background:var(--panel);border:1px solid var(--edge);border-radius:8px;padding:10px}
.chart{width:100%;height:auto;display:block}.grid{stroke:var(--edge)}.tick{fill:var(--soft);font-size:11px}
.warm{fill:var(--edge);opacity:.45}.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.cursor{stroke:var(--soft);visibility:hidden}
.legend{display:flex;flex-wrap:wrap;gap:16px;font-size:13px;color:var(--soft)}.legend i{display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle}
.tip{position:absolute;display:none;pointer-events:none;background:var(--back);border:1px solid var(--edge);border-radius:6px;padding:6px 10px;font-size:13px;white-space:pre;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}td{border-bottom:1px solid var(--edge);padding:5px 8px}td+td{text-align:right;font-variant-numeric:tabular-nums}
";

/// Shows the values of the second under the pointer.
const SCRIPT: &str = "
const report=JSON.parse(document.getElementById('report').textContent);
const shown={throughput:r=>['sent '+r.sent,'final '+r.finalized,'applied '+r.applied,'rejected '+r.rejected],
latency:r=>['final p50 '+r.latency_final_p50_ms+' ms','final p99 '+r.latency_final_p99_ms+' ms','applied p50 '+r.latency_applied_p50_ms+' ms','applied p99 '+r.latency_applied_p99_ms+' ms']};
for(const id of Object.keys(shown)){const svg=document.getElementById(id),tip=svg.parentNode.querySelector('.tip'),line=svg.querySelector('.cursor');
const n=Math.max(2,+svg.dataset.seconds),left=LEFT_X,right=RIGHT_X,width=WIDTH_X;
svg.addEventListener('pointermove',e=>{const box=svg.getBoundingClientRect(),x=(e.clientX-box.left)/box.width*width;
const s=Math.round(Math.min(1,Math.max(0,(x-left)/(right-left)))*(n-1)),row=report.series[s];if(!row)return;
const at=left+s/(n-1)*(right-left);line.setAttribute('x1',at);line.setAttribute('x2',at);line.style.visibility='visible';
tip.textContent='second '+row.second+'\\n'+shown[id](row).join('\\n');tip.style.display='block';
tip.style.left=Math.min(e.clientX-box.left+18,box.width-190)+'px';tip.style.top='24px';});
svg.addEventListener('pointerleave',()=>{tip.style.display='none';line.style.visibility='hidden';});}
";

/// Text for a place between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn line(name: &'static str, colour: &'static str, report: &Report, value: impl Fn(&SecondRow) -> f64) -> Line {
    Line { name, colour, values: report.series.iter().map(|row| Some(value(row))).collect() }
}

/// A latency is 0 where nothing was answered in that second.
fn latency_line(name: &'static str, colour: &'static str, report: &Report, value: impl Fn(&SecondRow) -> f64) -> Line {
    Line { name, colour, values: report.series.iter().map(|row| Some(value(row)).filter(|ms| *ms > 0.0)).collect() }
}

fn plot(id: &str, label: &str, unit: &str, scale: Scale, warm_up_seconds: f64, lines: &[Line]) -> String {
    let legend = lines.iter().fold(String::new(), |mut legend, line| {
        let _ = write!(legend, r#"<span><i style="background:var({})"></i>{}</span>"#, line.colour, line.name);
        legend
    });
    let chart = draw(id, label, unit, scale, warm_up_seconds, lines);
    format!(r#"<div class="plot"><div class="legend">{legend}</div>{chart}<div class="tip"></div></div>"#)
}

fn tiles(report: &Report) -> String {
    let tile = |name: &str, value: String| format!(r#"<div class="tile"><b>{value}</b><span>{name}</span></div>"#);
    let milliseconds = |value: f64| format!("{value:.1} ms");
    let mut tiles = tile("sent per second", grouped(report.per_second.sent));
    if !report.without_answers {
        tiles += &tile("applied per second", grouped(report.per_second.applied));
        tiles += &tile("p50 to applied", milliseconds(report.latency_applied_ms.p50));
        tiles += &tile("p99 to applied", milliseconds(report.latency_applied_ms.p99));
    }
    format!(r#"<div class="tiles">{tiles}</div>"#)
}

/// The page of a report.
pub fn page(report: &Report) -> String {
    let throughput = [
        line("sent", "--sent", report, |row| row.counts.sent as f64),
        line("final", "--final", report, |row| row.counts.finalized as f64),
        line("applied", "--applied", report, |row| row.counts.applied as f64),
        line("rejected", "--rejected", report, |row| row.counts.rejected as f64),
    ];
    let latency = [
        latency_line("final p50", "--sent", report, |row| row.latency_final_p50_ms),
        latency_line("final p99", "--final", report, |row| row.latency_final_p99_ms),
        latency_line("applied p50", "--applied", report, |row| row.latency_applied_p50_ms),
        latency_line("applied p99", "--rejected", report, |row| row.latency_applied_p99_ms),
    ];
    let mut body = format!("<h1>Flood of {}</h1>", escaped(&report.to));
    let _ = write!(
        body,
        "<p>tx-gen {}, {} loop, {} connections, {} accounts, chain {}</p>",
        report.version,
        report.mode,
        report.plan.connections,
        grouped(f64::from(report.plan.accounts)),
        escaped(report.genesis_hash.get(..16).unwrap_or_default())
    );
    if let Some(failure) = &report.failure {
        let _ = write!(body, r#"<div class="failure">Failed: {}</div>"#, escaped(&failure.message));
    }
    for note in report.notes() {
        let _ = write!(body, "<p>Note: {}</p>", escaped(&note));
    }
    body += &tiles(report);
    body += "<h2>Throughput, transactions per second</h2>";
    body += &plot("throughput", "throughput over time", "", Scale::Linear, report.warm_up_seconds, &throughput);
    body += "<h2>Latency, milliseconds, logarithmic</h2>";
    body += &plot("latency", "latency over time", " ms", Scale::Logarithmic, report.warm_up_seconds, &latency);
    body += "<h2>Figures</h2><table>";
    for (name, value) in rows(report) {
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escaped(&name), escaped(&value));
    }
    body += "</table>";
    // Within a script element `<` could end it, and JSON has another way to write it. A report always becomes JSON: its maps
    // have text keys and its floats are finite.
    let json = serde_json::to_string(report).unwrap_or_else(|_| "{\"series\":[]}".to_owned()).replace('<', "\\u003c");
    let script = SCRIPT
        .replace("LEFT_X", &LEFT.to_string())
        .replace("RIGHT_X", &RIGHT.to_string())
        .replace("WIDTH_X", &WIDTH.to_string());
    format!(
        r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/><title>tx-gen: flood of {}</title><style>{STYLE}</style></head>
<body>{body}<script type="application/json" id="report">{json}</script><script>{script}</script></body></html>
"#,
        escaped(&report.to)
    )
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
