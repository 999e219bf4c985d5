//! The demo's picture on standard error: redrawn in place on a terminal, one line an event elsewhere.
//! Standard output is left to the result.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use tokio::time::{Instant, interval};

use super::board::Board;
use super::drawing::{COLUMN, Frame, draw};
use super::timeline::{Timeline, VICTIM_IN_FLIGHT};

/// Lines above which a picture is not legible any more.
const MOST_ROWS: usize = 14;

/// How many servers of a run are shown at once.
pub fn rows(servers: usize) -> usize {
    (servers + 2).min(MOST_ROWS)
}

/// How many columns each of the two runs has: a line that wraps would spoil the picture.
fn column() -> usize {
    tcgetwinsize(std::io::stderr()).map_or(COLUMN, |size| match size.ws_col {
        0 => COLUMN,
        columns => (usize::from(columns) / 2).min(COLUMN),
    })
}

/// Shows the runs until it is dropped.
pub async fn show(boards: &[Arc<Board>], timeline: &Timeline) -> std::convert::Infallible {
    let mut screen = Screen::new(timeline);
    let begin = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        screen.tick(boards, begin.elapsed());
    }
}

struct Screen {
    terminal: bool,
    colours: bool,
    total: Duration,
    rows: usize,
    column: usize,
    drawn: usize,
}

impl Screen {
    fn new(timeline: &Timeline) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            terminal,
            // https://no-color.org
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            total: timeline.total,
            rows: rows(timeline.servers),
            column: column(),
            drawn: 0,
        }
    }

    fn tick(&mut self, boards: &[Arc<Board>], elapsed: Duration) {
        let news: Vec<String> = boards.iter().flat_map(|board| board.news()).collect();
        let text = if self.terminal {
            self.redraw(boards, elapsed)
        } else {
            let time = elapsed.as_secs_f64();
            news.iter().fold(String::new(), |text, line| {
                text + &format!("{time:6.1} s  {line}\n")
            })
        };
        // A closed standard error must not end the demo.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn redraw(&mut self, boards: &[Arc<Board>], elapsed: Duration) -> String {
        let frame = Frame {
            elapsed,
            total: self.total,
            full: VICTIM_IN_FLIGHT,
            height: self.rows,
            column: self.column,
            lanes: boards.iter().map(|board| board.lane()).collect(),
        };
        let picture = draw(&frame, self.colours);
        // Up to the first line, and clear from there to the end of the screen.
        let back = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.drawn = picture.lines().count();
        back + &picture
    }
}
