//! One frame of the demo's picture as text: the two runs in two columns, a bar for each server's requests
//! in flight. Pure; [`super::screen`] puts it on the terminal.

use std::time::Duration;

/// Columns of the bar.
const BAR: usize = 12;
/// Columns of one run where there is room.
pub const COLUMN: usize = 56;

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs, and has got no request yet.
    Starting,
    /// It takes requests.
    InService,
    /// Its hook was called.
    Leaving,
    /// It is gone.
    Stopped,
}

impl Phase {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::InService => "in service",
            Self::Leaving => "leaving",
            Self::Stopped => "stopped",
        }
    }

    fn paint(self) -> &'static str {
        match self {
            Self::Starting => "36",
            Self::InService => "32",
            Self::Leaving => "33",
            Self::Stopped => "2",
        }
    }
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub phase: Phase,
    /// Requests in flight, by its own record.
    pub in_flight: u64,
    /// What stands beside it.
    pub remark: String,
}

/// One of the two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name.
    pub title: &'static str,
    /// What is played.
    pub scene: &'static str,
    /// Its servers, in order of their start.
    pub rows: Vec<Row>,
    /// Requests begun.
    pub requests: u64,
    /// Requests failed.
    pub failed: u64,
}

/// All that is drawn at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Since the load's beginning.
    pub elapsed: Duration,
    /// What it is meant to last.
    pub total: Duration,
    /// The in-flight number that fills a bar.
    pub full: u64,
    /// Lines for servers in each run; the picture keeps its height.
    pub height: usize,
    /// Columns of one run; what is longer is cut off.
    pub column: usize,
    /// The runs, side by side.
    pub lanes: Vec<Lane>,
}

/// Draws a frame, with colours or without. Every line ends in a line feed, and two frames of the same
/// `height` have the same number of lines.
pub fn draw(frame: &Frame, colours: bool) -> String {
    let mut lines = vec![
        format!(
            "{:.1} of {} s; in flight on each server:",
            frame.elapsed.as_secs_f64(),
            frame.total.as_secs()
        ),
        side_by_side(frame, |lane| {
            let text = format!("{}: {}", lane.title, lane.scene);
            paint(&text, "1", frame.column, colours)
        }),
    ];
    for index in 0..frame.height {
        lines.push(side_by_side(frame, |lane| {
            lane.rows
                .get(index)
                .map_or_else(|| (String::new(), 0), |row| server(row, frame, colours))
        }));
    }
    lines.push(side_by_side(frame, |lane| {
        let text = format!("{} requests, {} failed", lane.requests, lane.failed);
        let code = if lane.failed > 0 { "31" } else { "1" };
        paint(&text, code, frame.column, colours)
    }));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// Puts each run's text, which says its own visible width, in a column.
fn side_by_side(frame: &Frame, cell: impl Fn(&Lane) -> (String, usize)) -> String {
    let mut line = String::new();
    for lane in &frame.lanes {
        let (text, width) = cell(lane);
        line.push_str(&text);
        line.extend(std::iter::repeat_n(' ', frame.column.saturating_sub(width)));
    }
    line.trim_end().to_owned()
}

fn paint(text: &str, code: &str, column: usize, colours: bool) -> (String, usize) {
    let short: String = text.chars().take(column.saturating_sub(1)).collect();
    let width = short.chars().count();
    if colours {
        (format!("\x1b[{code}m{short}\x1b[0m"), width)
    } else {
        (short, width)
    }
}

fn server(row: &Row, frame: &Frame, colours: bool) -> (String, usize) {
    let text = format!(
        "{:<7}{} {:>3} {} {}",
        row.name,
        bar(row.in_flight, frame.full),
        row.in_flight,
        row.phase.word(),
        row.remark
    );
    paint(text.trim_end(), row.phase.paint(), frame.column, colours)
}

/// A bar in eighths of a column; anything above 0 shows.
fn bar(value: u64, full: u64) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let most = BAR * 8;
    let scaled = usize::try_from((value * most as u64).div_ceil(full.max(1))).unwrap_or(most);
    let eighths = scaled.min(most);
    let mut bar: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let width = bar.chars().count();
    bar.extend(std::iter::repeat_n(' ', BAR - width));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(in_flight: u64, phase: Phase) -> Frame {
        let lane = |title, failed| Lane {
            title,
            scene: "scale-in",
            rows: vec![Row {
                name: "web-0".to_owned(),
                phase,
                in_flight,
                remark: "1.2 s".to_owned(),
            }],
            requests: 410,
            failed,
        };
        Frame {
            elapsed: Duration::from_millis(3_400),
            total: Duration::from_secs(30),
            full: 64,
            height: 2,
            column: COLUMN,
            lanes: vec![lane("without draining", 52), lane("with draining", 0)],
        }
    }

    #[test]
    fn a_frame_shows_both_runs_side_by_side() {
        let expected = "\
3.4 of 30 s; in flight on each server:
without draining: scale-in                              with draining: scale-in
web-0  ██████        32 leaving 1.2 s                   web-0  ██████        32 leaving 1.2 s

410 requests, 52 failed                                 410 requests, 0 failed
";
        assert_eq!(draw(&frame(32, Phase::Leaving), false), expected);
    }

    #[test]
    fn a_frame_keeps_its_height_and_columns_with_and_without_colours() {
        let plain = draw(&frame(5, Phase::InService), false);
        let coloured = draw(&frame(5, Phase::InService), true);
        assert_eq!(plain.lines().count(), coloured.lines().count());
        let stripped = coloured
            .split('\x1b')
            .map(|part| match part.split_once('m') {
                Some((code, rest)) if code.starts_with('[') => rest,
                _ => part,
            })
            .collect::<String>();
        assert_eq!(stripped, plain);
    }

    #[test]
    fn no_line_is_longer_than_the_columns_that_there_are() {
        let mut narrow = frame(1000, Phase::Stopped);
        narrow.column = 20;
        for line in draw(&narrow, false).lines().skip(1) {
            assert!(line.chars().count() < 40, "{line}");
        }
    }

    #[test]
    fn a_bar_falls_to_zero_and_only_zero_is_empty() {
        for (value, drawn) in [(0, ""), (1, "▎"), (32, "██████"), (1000, "████████████")]
        {
            assert_eq!(bar(value, 64).trim_end(), drawn, "{value}");
            assert_eq!(bar(value, 64).chars().count(), BAR);
        }
    }
}
