//! Other people's parsers on the same bytes: Node's and Python's see what we see, in what clients send and
//! in what we pass on.
//!
//! Needs `node` and `python3`; without them the tests fail, and say so.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lastcall::proxy::http1::{AskedBy, Method};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Deserialize;

use crate::cases::{requests, responses};
use crate::generate::{self, Message};
use crate::reading::{Pair, Wire, read_requests, read_response};

/// Random messages a judge sees in each role.
const MESSAGES: usize = 250;

#[derive(Deserialize, Debug)]
struct Verdict {
    messages: Vec<Seen>,
    error: Option<String>,
}

/// A message, as a judge sees it. Text is Latin-1, body is hex.
#[derive(Deserialize, Debug, PartialEq, Eq)]
struct Seen {
    method: Option<String>,
    target: Option<String>,
    status: Option<u16>,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Option<Vec<(String, String)>>,
}

/// A parser that runs in a process of its own.
struct Judge {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    fn start(program: &str, script: &str) -> Self {
        let script = format!("{}/tests/judges/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(program)
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} is needed to judge the codec ({error}): install it, or see `make test`")
            });
        Self {
            questions: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn ask(&mut self, role: &str, bytes: &[u8]) -> Verdict {
        let bytes = hex(bytes);
        writeln!(
            self.questions,
            r#"{{"role": "{role}", "method": "GET", "bytes": "{bytes}"}}"#
        )
        .unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("no answer ({e}): {answer:?}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn pairs(pairs: &[Pair]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| (latin1(name), latin1(value)))
        .collect()
}

/// The same random messages in every run.
fn random(strategy: impl Strategy<Value = Message>) -> Vec<Message> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..MESSAGES)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// What we see in `bytes`.
fn our_requests(bytes: &[u8]) -> (Vec<Seen>, Vec<Vec<u8>>) {
    let (requests, sent, _) = read_requests(&mut Wire::new(bytes, &[]));
    let seen = requests.iter().map(|request| Seen {
        method: Some(latin1(&request.method)),
        target: Some(latin1(&request.target)),
        status: None,
        fields: pairs(&request.fields),
        body: hex(&request.body),
        trailers: Some(pairs(&request.trailers)),
    });
    (seen.collect(), sent)
}

fn our_response(bytes: &[u8], asked: AskedBy) -> (Option<Seen>, Vec<u8>) {
    let (response, sent) = read_response(&mut Wire::new(bytes, &[]), asked);
    let seen = response.ok().map(|response| Seen {
        method: None,
        target: None,
        status: Some(response.status),
        fields: pairs(&response.fields),
        body: hex(&response.body),
        trailers: Some(pairs(&response.trailers)),
    });
    (seen, sent)
}

const GET: AskedBy = AskedBy {
    method: Method::Get,
    upgrade: false,
};

/// The judge sees `ours` in `bytes`, and no more.
fn agree(judge: &mut Judge, role: &str, bytes: &[u8], mut ours: Vec<Seen>) {
    let verdict = judge.ask(role, bytes);
    for (seen, our) in verdict.messages.iter().zip(&mut ours) {
        if seen.trailers.is_none() {
            our.trailers = None;
        }
    }
    let bytes = String::from_utf8_lossy(bytes);
    assert_eq!(verdict.error, None, "refused: {bytes:?}");
    assert_eq!(verdict.messages, ours, "{bytes:?}");
}

fn judge_everything(mut judge: Judge) {
    for message in random(generate::request()) {
        let (ours, sent) = our_requests(&message.bytes);
        agree(&mut judge, "request", &message.bytes, ours);
        for bytes in sent {
            let ours = our_requests(&bytes).0;
            assert_eq!(ours.len(), 1);
            agree(&mut judge, "request", &bytes, ours);
        }
    }
    for message in random(generate::response()) {
        let (ours, sent) = our_response(&message.bytes, GET);
        agree(
            &mut judge,
            "response",
            &message.bytes,
            ours.into_iter().collect(),
        );
        let ours = our_response(&sent, GET).0;
        agree(&mut judge, "response", &sent, ours.into_iter().collect());
    }
    for case in requests::CASES {
        if matches!(case.expect, requests::Expect::Served(_)) {
            judge_served(&mut judge, case);
        }
    }
    for case in responses::CASES {
        if case.asked == responses::Asked::Get
            && matches!(case.expect, responses::Expect::Whole { .. })
        {
            let sent = our_response(&case.bytes.to_vec(), GET).1;
            let ours = our_response(&sent, GET).0;
            agree(&mut judge, "response", &sent, ours.into_iter().collect());
        }
    }
}

/// What we pass on of an odd request is one plain request to everybody else.
fn judge_served(judge: &mut Judge, case: &requests::Case) {
    for bytes in our_requests(&case.bytes.to_vec()).1 {
        if bytes.starts_with(b"brew ") {
            continue; // Node knows its methods by a list, in upper case.
        }
        let ours = our_requests(&bytes).0;
        assert_eq!(ours.len(), 1, "{}", case.name);
        agree(judge, "request", &bytes, ours);
    }
}

#[test]
fn node_sees_what_we_see() {
    judge_everything(Judge::start("node", "node.mjs"));
}

#[test]
fn python_sees_what_we_see() {
    judge_everything(Judge::start("python3", "python.py"));
}
