//! Seeded simulation: random commands, also late, doubled and senseless ones, applied by two replicas of which one
//! restarts from snapshots. After each command every invariant holds; at the end the replicas are equal.

use lake_proto::{AppId, DriverId, ErrorClass, Fault, WorkerId};

use crate::application::{DeployMode, Options};
use crate::{Application, Command, Event, Exit, QueueBound, Registration, Stamped, State, Step, Submission};
use crate::{apply, codec, digest, invariants};

const SEEDS: u64 = 100;
const COMMANDS: u64 = 400;

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(usize::try_from(self.below(items.len() as u64)).unwrap()) }
    }
}

/// What has been seen so far, to aim commands at.
#[derive(Default)]
struct World {
    apps: Vec<AppId>,
    drivers: Vec<(DriverId, u64)>,
    workers: Vec<WorkerId>,
}

impl World {
    fn learn(&mut self, state: &State, events: &[Event]) {
        for event in events {
            match event {
                Event::Submitted { app, driver, epoch, .. } => {
                    self.apps.push(app.clone());
                    self.drivers.push((driver.clone(), *epoch));
                }
                Event::DriverAssigned { app, epoch, .. } => {
                    let driver = state.application(app).unwrap().driver.clone();
                    self.drivers.push((driver, *epoch));
                }
                Event::WorkerRegistered { worker, .. } => self.workers.push(worker.clone()),
                _ => {}
            }
        }
    }
}

fn submission(random: &mut Random) -> Submission {
    let deploy_mode = if random.below(4) == 0 { DeployMode::Client } else { DeployMode::Cluster };
    let options = Options {
        name: "n".to_owned(),
        job_name: format!("job-{}", random.below(3)),
        total_executor_cores: 0,
        driver_memory_bytes: 50 + random.below(100),
        supervise: random.below(4) > 0,
        max_attempts: u32::try_from(random.below(4)).unwrap(),
        deploy_mode,
    };
    // As leaders with different bounds propose it, and as it was before there was one.
    let bound = match random.below(3) {
        0 => None,
        other => Some(QueueBound { applications: 4 * other, pipelines_bytes: 20 * other }),
    };
    let pipeline = if random.below(10) == 0 { "{ }" } else { "{}" };
    Submission {
        id: format!("s-{}", random.below(60)).parse().unwrap(),
        pipeline: pipeline.to_owned(),
        options,
        bound,
        traceparent: String::new(),
    }
}

fn registration(random: &mut Random) -> Registration {
    Registration {
        instance: format!("i-{}", random.below(30)),
        host: "h".to_owned(),
        grpc_port: u16::try_from(random.below(4)).unwrap(),
        flight_port: 1,
        http_port: 1,
        cores: 2,
        memory_bytes: 100 + random.below(300),
    }
}

fn fault(random: &mut Random) -> Fault {
    let class = ErrorClass::ALL[usize::try_from(random.below(9)).unwrap()];
    Fault::new(class, "c", "m")
}

fn command(random: &mut Random, world: &World) -> Option<Command> {
    let kind = random.below(19);
    if kind < 3 {
        return Some(Command::Submit(submission(random)));
    }
    if kind < 5 {
        return Some(Command::WorkerRegistered(registration(random)));
    }
    let (driver, epoch) = random.pick(&world.drivers)?.clone();
    let worker = random.pick(&world.workers)?.clone();
    Some(match kind {
        5..=7 => Command::AssignDriver { driver, worker },
        8 => Command::DriverStarted { driver, epoch },
        9 => {
            let step = Step { table: format!("t-{}", random.below(3)), ..Step::default() };
            Command::RecordStep { driver, epoch, step }
        }
        10 => {
            let failure = if random.below(2) == 0 { None } else { Some(fault(random)) };
            Command::DriverFinished { driver, epoch, failure }
        }
        11 => {
            let exit = match random.below(3) {
                0 => Exit { code: Some(i32::try_from(random.below(10)).unwrap()), signal: 0, fault: None },
                1 => Exit { code: None, signal: 9, fault: None },
                _ => Exit { code: None, signal: 0, fault: Some(fault(random)) },
            };
            Command::DriverExited { driver, epoch, exit }
        }
        12 => Command::DriverLost { driver, epoch, reason: "r".to_owned() },
        13 => Command::Kill { app: random.pick(&world.apps)?.clone() },
        14 => Command::WorkerLost { worker, reason: "r".to_owned() },
        15 => Command::WorkerLeft { worker },
        17 => Command::Forget { apps: vec![random.pick(&world.apps)?.clone(), random.pick(&world.apps)?.clone()] },
        16 => Command::PermitCommit {
            driver,
            epoch,
            table: format!("t-{}", random.below(3)),
            run_number: 0,
            inputs: format!("i-{}", random.below(2)),
        },
        _ => Command::WorkerBack { worker },
    })
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::default();
    let mut first = State::default();
    let mut second = State::default();
    let mut at_ms = 1_795_253_412_000;
    let mut index = 0;
    for _ in 0..COMMANDS {
        let Some(command) = command(&mut random, &world) else { continue };
        at_ms = at_ms + random.below(2_000) - random.below(500);
        index += 1 + random.below(2);
        let bytes = codec::encode_entry(at_ms, &command).unwrap();
        let stamped = Stamped { at_ms, index, command };

        let epochs_before = epochs(&first);
        let events = apply(&mut first, stamped.clone());
        assert!(!events.is_empty(), "seed {seed}: no answer to {stamped:?}");
        invariants::check(&first).unwrap_or_else(|broken| panic!("seed {seed}: {broken} after {stamped:?}"));
        for largest_bytes in [0, 90, 500] {
            assert_eq!(placeable(&first, largest_bytes), placeable_by_looking(&first, largest_bytes), "seed {seed}");
        }
        for (driver, epoch) in epochs(&first) {
            let before = epochs_before.iter().find(|(other, _)| *other == driver).map_or(0, |(_, epoch)| *epoch);
            assert!(epoch >= before, "seed {seed}: the epoch of {driver} fell from {before} to {epoch}");
        }
        world.learn(&first, &events);

        let again = apply(&mut second, codec::decode_entry(index, &bytes).unwrap());
        assert_eq!(events, again, "seed {seed}: replicas answered differently");
        if random.below(20) == 0 {
            second = codec::decode_state(&codec::encode_state(&second).unwrap()).unwrap();
            assert!(matches!(apply(&mut second, stamped).as_slice(), [Event::Ignored { .. }]), "seed {seed}");
        }
    }
    assert_eq!(digest::of_state(&first).unwrap(), digest::of_state(&second).unwrap(), "seed {seed}");
}

fn placeable(state: &State, largest_bytes: u64) -> Vec<&AppId> {
    state.placeable(largest_bytes).map(|application| &application.id).collect()
}

/// The same without an index.
fn placeable_by_looking(state: &State, largest_bytes: u64) -> Vec<&AppId> {
    let mut found: Vec<&Application> = Vec::new();
    for application in state.applications().filter(|application| application.is_waiting()) {
        let is_earlier = |other: &Application| {
            let is_open = other.phase.ended().is_none();
            is_open && other.options.job_name == application.options.job_name && other.queued_at < application.queued_at
        };
        let fits = application.driver_memory_bytes() <= largest_bytes;
        if fits && !state.applications().any(is_earlier) {
            found.push(application);
        }
    }
    found.sort_by_key(|application| application.queued_at);
    found.into_iter().map(|application| &application.id).collect()
}

fn epochs(state: &State) -> Vec<(DriverId, u64)> {
    let epoch = |app: &crate::Application| Some((app.driver.clone(), app.running()?.epoch));
    state.applications().filter_map(epoch).collect()
}

#[test]
fn replicas_agree_and_invariants_hold_under_random_commands() {
    for seed in 0..SEEDS {
        run(seed);
    }
}
