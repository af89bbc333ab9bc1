//! A view that also keeps what was told last of each step: what has failed is on no record. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake_proto::v1::{ApplicationStatus, StepProgress};

use super::View;

/// What was told last of each step, by table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeMap<String, StepProgress>>>);

impl Told {
    /// This view, which from now on is listened to.
    pub(crate) fn by(&self, shown: Box<dyn View>) -> Box<dyn View> {
        Box::new(Remembered { shown, told: self.clone() })
    }

    /// Steps that have ended without being on record.
    pub(crate) fn failed(&self) -> Vec<StepProgress> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().filter(|step| matches!(step.state.as_str(), "FAILED" | "KILLED")).cloned().collect()
    }
}

struct Remembered {
    shown: Box<dyn View>,
    told: Told,
}

impl View for Remembered {
    fn note(&mut self, text: &str) {
        self.shown.note(text);
    }

    fn application(&mut self, status: &ApplicationStatus) {
        self.shown.application(status);
    }

    fn steps(&mut self, steps: &[StepProgress]) {
        let mut told = self.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(steps.iter().map(|step| (step.table.clone(), step.clone())));
        drop(told);
        self.shown.steps(steps);
    }

    fn close(&mut self, name: &str, state: &str, elapsed: Duration) {
        self.shown.close(name, state, elapsed);
    }
}
