//! Seeded random histories: made, run, and when they fail shortened and told.

use std::fmt::Write;
use std::time::Duration;

use tine_store::medium::simulated::Chooser;

use super::catch::catch;
use super::ops::{Generator, Mix, Step};
use super::runner::{Config, Runner, Wrong};
use super::shrink::shrink;
use super::watchdog::Watchdog;

/// What a history that ended well has exercised.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) steps: u64,
    pub(crate) recoveries: u64,
    /// Levels of the tallest tree.
    pub(crate) levels: u64,
}

/// A history that went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    config: Config,
    steps: Vec<Step>,
    why: Wrong,
    /// The engine or the test panicked, where the store should have shown or said something wrong.
    pub(crate) panicked: bool,
}

impl Failure {
    /// Returns the history, as short as it can be made, and how to see it again.
    pub(crate) fn tell(&self) -> String {
        let fails = |steps: &[Step]| replay(&self.config, self.seed, steps).err();
        let (steps, why) = shrink(&self.steps, self.why.clone(), fails);
        let mut out = format!(
            "seed {} (TINE_SEED={0} runs it alone), on {:?}:\n",
            self.seed, self.config
        );
        for step in &steps {
            let Step {
                op,
                trouble,
                again,
                seed,
            } = step;
            let _ = writeln!(
                out,
                "  {op:?}  trouble {trouble:?}  again {again:?}  medium {seed}"
            );
        }
        out + &why
    }
}

/// Makes and runs the history of a seed.
pub(crate) fn run(seed: u64) -> Result<Done, Failure> {
    let _watchdog = Watchdog::new(format!("seed {seed}"), Duration::from_secs(60));
    let mut chooser = Chooser::seeded(seed);
    let config = Config::choose(&mut chooser);
    let mix = Mix::choose(&mut chooser, config.small_nodes);
    let (mut steps, mut levels) = (Vec::new(), 0);
    let made = catch(|| {
        let mut runner = Runner::create(config.clone(), Chooser::seeded(seed))?;
        let mut generator = Generator::new(&mut chooser, mix);
        for _ in 0..mix.steps {
            steps.push(generator.step(runner.world()));
            runner.step(&steps[steps.len() - 1])?;
            levels = levels.max(runner.levels());
        }
        runner.check_all()?;
        Ok(runner.recoveries)
    });
    let panicked = made.is_err();
    match made.unwrap_or_else(Err) {
        Ok(recoveries) => Ok(Done {
            steps: steps.len() as u64,
            recoveries,
            levels,
        }),
        Err(why) => Err(Failure {
            seed,
            config,
            steps,
            why,
            panicked,
        }),
    }
}

/// Runs given steps.
fn replay(config: &Config, seed: u64, steps: &[Step]) -> Result<(), Wrong> {
    catch(|| {
        let mut runner = Runner::create(config.clone(), Chooser::seeded(seed))?;
        steps.iter().try_for_each(|step| runner.step(step))?;
        runner.check_all()
    })
    .unwrap_or_else(Err)
}
