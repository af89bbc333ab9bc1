//! The job as it was submitted. Pure.

use lake_record::ApplicationRecord;

use crate::html::{Html, element, empty, section, text};
use crate::job_text;

pub(super) fn job(record: &ApplicationRecord) -> Html {
    let body = match &record.pipeline {
        Some(pipeline) => {
            let summary = element("summary", &[], &[text("Show job.toml as it was understood")]);
            let code = element("pre", &[("class", "code"), ("tabindex", "0")], &[text(job_text::render(pipeline))]);
            element("details", &[("id", "job-text")], &[summary, code])
        }
        None => empty("Its job is not on record."),
    };
    section("job", "Job", "parameters in place, secrets as references", &[body])
}
