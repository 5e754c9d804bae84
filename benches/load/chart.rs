//! The chart: CPU time per query, one group of bars for each case.

use std::fmt::Write as _;

use crate::results::{CaseResult, ECHO, MUSTER, Results};

const BAR: f64 = 30.0;
const BETWEEN_GROUPS: f64 = 46.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 76.0;
const HEIGHT: f64 = 260.0;
const BOTTOM: f64 = 46.0;
/// Lines across, at most.
const LINES: f64 = 6.0;

/// Draws the chart as SVG, on a background of its own, so that it reads on light and dark pages.
pub(crate) fn draw(results: &Results) -> String {
    let groups: Vec<Group> = results.cases.iter().map(Group::of).collect();
    let highest = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.1).fold(1.0, f64::max);
    let step = step(highest);
    let top = (highest / step).ceil() * step;
    let y = |value: f64| TOP + HEIGHT - HEIGHT * value / top;
    let width = (LEFT + BETWEEN_GROUPS + groups.iter().map(Group::width).sum::<f64>()).max(420.0);
    let bottom = TOP + HEIGHT;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#24292f\">\n\
         <title>CPU time per query, by server and kind of query</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"15\" font-weight=\"600\">CPU time per query, µs (less is better)</text>\n",
        bottom + BOTTOM
    );
    legend(&mut svg, &groups);
    let mut line = 0.0;
    while line <= top + step / 2.0 {
        let at = y(line);
        svg += &format!(
            "<path d=\"M{LEFT} {at:.1}H{width}\" stroke=\"#d0d7de\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{line}</text>\n",
            LEFT - 8.0,
            at + 4.0
        );
        line += step;
    }
    let mut x = LEFT + BETWEEN_GROUPS / 2.0;
    for group in &groups {
        for (server, value) in &group.bars {
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{:.1}\" fill=\"{}\"><title>{server}: {value:.2} µs\
                 </title></rect><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{value:.2}</text>",
                y(*value),
                BAR - 4.0,
                bottom - y(*value),
                color(server),
                x + BAR / 2.0 - 2.0,
                y(*value) - 4.0
            );
            x += BAR;
        }
        let middle = x - BAR * group.bars.len() as f64 / 2.0;
        for (text, below) in group.title.iter().zip([18.0, 33.0]) {
            let _ = writeln!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + below
            );
        }
        x += BETWEEN_GROUPS;
    }
    svg + "</svg>\n"
}

/// One case's bars.
struct Group {
    title: [String; 2],
    bars: Vec<(&'static str, f64)>,
}

impl Group {
    fn of(result: &CaseResult) -> Self {
        let label = result.case.label(result.turns.names);
        let (kind, names) = label.rsplit_once(", ").unwrap_or((&label, ""));
        let servers = result.turns.servers.iter();
        let bars = servers.map(|measured| (measured.server, measured.median(|round| round.cpu)));
        Self { title: [kind.to_owned(), names.to_owned()], bars: bars.collect() }
    }

    fn width(&self) -> f64 {
        BETWEEN_GROUPS + BAR * self.bars.len() as f64
    }
}

fn legend(svg: &mut String, groups: &[Group]) {
    let mut x = LEFT;
    let servers = groups.iter().max_by_key(|group| group.bars.len()).map(|group| group.bars.as_slice());
    for (server, _) in servers.unwrap_or_default() {
        *svg += &format!(
            "<rect x=\"{x}\" y=\"42\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"52\">{server}</text>\n",
            color(server),
            x + 18.0
        );
        x += 90.0;
    }
}

/// Colors that people who cannot tell red from green can tell apart (Okabe and Ito).
fn color(server: &str) -> &'static str {
    match server {
        ECHO => "#999999",
        MUSTER => "#0072b2",
        "Knot" => "#e69f00",
        _ => "#cc79a7",
    }
}

/// A step of 1, 2 or 5 times a power of ten that needs few lines.
fn step(highest: f64) -> f64 {
    let power = 10_f64.powf((highest / LINES).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| highest / step <= LINES).unwrap_or(highest)
}
