use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::task::Wake;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

type Waits = Pin<Box<dyn Future<Output = Result<usize, Denied<()>>>>>;

/// A request that waits, as its worker runs it: looked at only when it was woken.
struct Request {
    waits: Option<Waits>,
    woken: Arc<Woken>,
    result: Option<Result<usize, Denied<()>>>,
    leaves: Rc<Cell<bool>>,
    /// It can use the second endpoint only.
    picky: bool,
}

impl Request {
    fn run(&mut self) -> bool {
        if !self.woken.0.swap(false, SeqCst) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        let Some(waits) = &mut self.waits else {
            return false;
        };
        if let Poll::Ready(result) = waits.as_mut().poll(&mut cx) {
            self.waits = None;
            self.result = Some(result);
        }
        true
    }

    fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }
}

/// Workers, two endpoints with so many free places, and who waits for them.
struct World {
    lines: Vec<Rc<Line>>,
    free: Rc<[Cell<usize>; 2]>,
    requests: Vec<Request>,
    wait: Duration,
}

impl World {
    fn new(workers: usize) -> Self {
        let bells = Arc::new(Bells::new(workers));
        let line = |worker| Rc::new(Line::new(Arc::clone(&bells), worker));
        Self {
            lines: (0..workers).map(line).collect(),
            free: Rc::default(),
            requests: Vec::new(),
            wait: Duration::from_secs(10),
        }
    }

    fn bells(&self) -> &Bells {
        self.lines[0].bells()
    }

    /// A request of this worker comes and is run.
    fn comes(&mut self, worker: usize, length: usize, picky: bool) -> usize {
        let line = Rc::clone(&self.lines[worker]);
        let leaves = Rc::new(Cell::new(false));
        let (free, left) = (Rc::clone(&self.free), Rc::clone(&leaves));
        let room = Rc::clone(&free);
        let until = tokio::time::Instant::now().into_std() + self.wait;
        let waits = async move {
            let turn = Turn {
                place: || {
                    let first = usize::from(picky);
                    let found = (first..2).find(|at| free[*at].get() > 0)?;
                    free[found].set(free[found].get() - 1);
                    Some(found)
                },
                room: || room.iter().any(|free| free.get() > 0),
                left: |_: &mut Context<'_>| {
                    if left.get() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                },
            };
            line.wait(length, until, turn).await
        };
        let woken = Arc::new(Woken::default());
        woken.0.store(true, SeqCst);
        self.requests.push(Request {
            waits: Some(Box::pin(waits)),
            woken,
            result: None,
            leaves,
            picky,
        });
        self.run();
        self.requests.len() - 1
    }

    /// A place of an endpoint becomes free.
    fn frees(&mut self, endpoint: usize) {
        let free = &self.free[endpoint];
        free.set(free.get() + 1);
        self.bells().ring();
        self.run();
    }

    /// The client of a request goes.
    fn goes(&mut self, at: usize) {
        self.requests[at].leaves.set(true);
        self.requests[at].woken.0.store(true, SeqCst);
        self.run();
    }

    /// Runs whatever was woken, until nothing is.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let ran = self.requests.iter_mut().map(Request::run);
            if !ran.fold(false, |any, ran| any | ran) {
                return;
            }
        }
        panic!("they wake one another for ever");
    }

    fn results(&self) -> Vec<Option<&Result<usize, Denied<()>>>> {
        self.requests
            .iter()
            .map(|one| one.result.as_ref())
            .collect()
    }

    /// Nobody waits for what is there.
    fn is_settled(&self) -> bool {
        let can = |request: &Request| {
            let first = usize::from(request.picky);
            (first..2).any(|at| self.free[at].get() > 0)
        };
        let mut waiting = self.requests.iter().filter(|one| one.is_waiting());
        waiting.all(|one| !can(one))
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_to_come_is_the_first_to_be_served_in_whatever_worker() {
    let mut world = World::new(3);
    for worker in [0, 1, 0, 2, 1] {
        world.comes(worker, 10, false);
    }
    assert_eq!(world.bells().waiting(), 5);
    for served in 0..5 {
        world.frees(0);
        let results = world.results();
        assert!(
            results[..=served].iter().all(|one| one == &Some(&Ok(0))),
            "{served}: {results:?}"
        );
        assert!(
            results[served + 1..].iter().all(Option::is_none),
            "{served}: {results:?}"
        );
    }
    assert_eq!(world.bells().waiting(), 0);
    world.frees(0);
    world.comes(1, 10, false);
    assert_eq!(world.results()[5], Some(&Ok(0)));
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_there_is_room_for() {
    let mut world = World::new(2);
    for worker in [0, 1, 0] {
        world.comes(worker, 2, false);
    }
    assert_eq!(world.results(), [None, None, Some(&Err(Denied::Full))]);
    world.goes(0);
    assert_eq!(world.results()[0], Some(&Err(Denied::Left(()))));
    let next = world.comes(1, 2, false);
    assert_eq!(world.results()[next], None);
    assert_eq!(world.bells().waiting(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_goes_and_the_others_stay() {
    let mut world = World::new(2);
    world.comes(0, 10, false);
    tokio::time::advance(Duration::from_secs(4)).await;
    world.comes(0, 10, false);
    world.comes(1, 10, false);
    tokio::time::advance(Duration::from_secs(6)).await;
    world.run();
    assert_eq!(world.results(), [Some(&Err(Denied::Late)), None, None]);
    world.frees(0);
    world.frees(0);
    assert_eq!(world.results()[1..], [Some(&Ok(0)), Some(&Ok(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_place_goes_to_the_next_where_the_one_that_was_woken_is_gone() {
    for worker in [0, 1] {
        let mut world = World::new(2);
        world.comes(0, 10, false);
        world.comes(worker, 10, false);
        // Both at once: the bell, and its client's end.
        world.free[0].set(1);
        world.bells().ring();
        world.requests[0].waits = None;
        world.run();
        assert_eq!(world.results()[1], Some(&Ok(0)), "{worker}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_use_a_place_holds_up_nobody() {
    let mut world = World::new(3);
    for worker in [0, 0, 1, 2] {
        world.comes(worker, 10, true);
    }
    for worker in [0, 2, 1] {
        world.comes(worker, 10, false);
        world.frees(0);
        assert!(world.is_settled(), "{:?}", world.results());
        assert_eq!(world.free[0].get(), 0);
    }
    assert!(world.results()[..4].iter().all(Option::is_none));
    world.frees(1);
    assert_eq!(world.results()[0], Some(&Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_nobody_rang_for_is_found_when_the_line_is_stirred() {
    let mut world = World::new(2);
    for worker in [1, 0, 1] {
        world.comes(worker, 10, false);
    }
    world.free[0].set(3);
    world.lines[1].stir();
    world.run();
    assert!(world.results().iter().all(|one| one == &Some(&Ok(0))));
}

#[derive(Clone, Debug)]
enum Happens {
    Comes { worker: usize, picky: bool },
    Goes(usize),
    Frees(usize),
    Advances(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..3_usize, prop::bool::weighted(0.3)).prop_map(|(worker, picky)| Happens::Comes { worker, picky }),
        1 => (0..60_usize).prop_map(Happens::Goes),
        3 => (0..2_usize).prop_map(Happens::Frees),
        1 => (0..4_u64).prop_map(Happens::Advances),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, goes and becomes free in whatever order: once everybody who was woken has looked, no place
    /// is free that somebody waits for, and nobody is counted who does not wait.
    #[test]
    fn no_wake_up_is_lost(all in proptest::collection::vec(happens(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(3);
            for one in all {
                match one {
                    Happens::Comes { worker, picky } => {
                        world.comes(worker, 8, picky);
                    }
                    Happens::Goes(at) if at < world.requests.len() => world.goes(at),
                    Happens::Goes(_) => {}
                    Happens::Frees(endpoint) => world.frees(endpoint),
                    Happens::Advances(seconds) => {
                        tokio::time::advance(Duration::from_secs(seconds)).await;
                        world.run();
                    }
                }
                prop_assert!(world.is_settled(), "{:?}", world.results());
                let waiting = world.requests.iter().filter(|one| one.is_waiting()).count();
                prop_assert_eq!(world.bells().waiting(), waiting);
            }
            Ok(())
        })?;
    }
}
