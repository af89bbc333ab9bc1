//! The next thing to do after a failure. Pure.

use lake_proto::{ErrorClass, Fault, codes};

/// What the reader of this fault should do next; one sentence.
pub fn remedy(fault: &Fault) -> &'static str {
    match fault.code.as_str() {
        "no-master" => "check that a lake-master is running there and that --master (LAKE_MASTER) names it",
        "master-url" => "give --master as lake://host:port[,host:port...]",
        "job-file" => "check the path of job.toml",
        "unknown-param" => "declare the parameter under [params] of job.toml or correct its name",
        "missing-param" => "give the parameter with --param name=value or a default in [params]",
        "literal-secret" => "write the secret as { env = \"NAME\" } or { file = \"/path\" }",
        "secret" => "set it in the environment of the process that uses it: the worker, or this one in local mode",
        "not-supported" => "leave the key out; docs/job-toml.md says what this version executes",
        "store-unsafe" => "use a store that honours If-None-Match; two writers would overwrite each other on this one",
        "disk-full" => "free space under the work directory of the worker or give it another one with --work-dir",
        "memory" => "give the workers more memory (lake-worker --memory), or the driver (--driver-memory)",
        codes::TIMEOUT => "raise job.timeout, or give the job more cores",
        "task-timeout" => "raise job.task_timeout, or look in the named worker's log what the task waits for",
        "job-under-way" => "wait until the other run has ended, or submit in cluster mode, where it is queued",
        "queue-full" => {
            "submit it again when some of the queue has started (lake-submit --list); workers with more memory shorten the \
             queue, lake-master --max-queued-applications lengthens it"
        }
        "submission-differs" => "submit with a new --submission-id: this one stands for other content",
        "delta-overtaken" => "do not run the same job from two places at once; submit it again",
        "bad-file" => "replace or restore the file that the message names; nothing was committed",
        "delta-log" => {
            "restore the file that the message names from a copy of the table; without it nobody can read it"
        }
        "bad-record" | "csv-header" | "source-value" => {
            "correct the data, or read the source with mode = \"permissive\" or \"drop\"; nothing was committed"
        }
        "constraint" => "correct the data: the table's own constraint holds for every writer; nothing was committed",
        "source-files" | "source-database" | "object-not-found" | "file-not-found" => {
            "check the path, the bucket or the database that job.toml names"
        }
        "no-engine" => "use --deploy-mode cluster, or a lake-submit built with its default features",
        _ => by_class(fault.class),
    }
}

const fn by_class(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidJob => "correct the job and submit it again; a repeat without a change fails again",
        ErrorClass::NotFound => "check the name, the path or the id; --list shows the submissions",
        ErrorClass::Conflict => "another writer was faster; submit the job again",
        ErrorClass::Resource => "free or add memory, disk or cores, then submit the job again",
        ErrorClass::Unavailable => "check that the named service is running and reachable, then submit the job again",
        ErrorClass::Cancelled => "nothing to do: it was ended on request",
        ErrorClass::DataQuality => "correct the data, or change the action of the expectation; nothing was committed",
        ErrorClass::Denied => "check the credentials and the rights of the user they belong to",
        ErrorClass::Internal => "this is a bug: report it with the output of lake-submit --logs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_next_thing_to_do_and_known_codes_a_better_one() {
        for class in ErrorClass::ALL {
            assert!(!remedy(&Fault::new(class, "other", "")).is_empty());
        }
        let fault = Fault::new(ErrorClass::Unavailable, "no-master", "");
        assert!(remedy(&fault).contains("LAKE_MASTER"));
    }
}
