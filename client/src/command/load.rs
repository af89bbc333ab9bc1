//! job.toml, with what the command line says about it, as a pipeline. Edge.

use lake_job::{LoadOptions, Pipeline};
use lake_proto::{ErrorClass, Fault};

use crate::options::Options;
use crate::report::Failed;

/// The pipeline of `options.job`, or everything that is wrong with it.
pub(super) fn pipeline(options: &Options) -> Result<Pipeline, Failed> {
    let path = options.job.as_deref().unwrap_or(std::path::Path::new("job.toml"));
    let working_directory = std::env::current_dir().map_err(|error| {
        Fault::new(ErrorClass::NotFound, "working-directory", format!("there is no working directory: {error}"))
    })?;
    let load_options = LoadOptions {
        params: options.params.clone(),
        overrides: options.overrides.clone(),
        only: options.only.clone(),
        from: options.from.clone(),
        full_refresh: options.full_refresh,
        // The job's name is its identity for exactly-once; --name is what lists show, often one name for many jobs.
        name: None,
        today: chrono::Utc::now().date_naive(),
        working_directory,
    };
    lake_job::load(path, &load_options).map_err(|errors| {
        let class = errors.class();
        let mut faults: Vec<Fault> =
            errors.list().iter().map(|error| Fault::new(class, error.code.name(), error.without_code())).collect();
        faults.extend(errors.remainder().map(|words| Fault::new(class, "omitted", words)));
        let first = if faults.is_empty() { Fault::from(errors) } else { faults.remove(0) };
        Failed::all(first, faults)
    })
}
